-- Gives covered caches new generations, when a reader clears them. Changes nothing that writes of an invalidator compare.
-- Mappings that are not covered, and a shard without a meta, stay as they are: nothing is served or stored for them.
-- KEYS: meta. ARGV: rows, each a mapping id and a generation (16 bytes each).
local meta, rows = read_meta(KEYS[1])
if meta then
  write_though_full(KEYS[1])
  -- Of two rows with one mapping the first one counts.
  for index = #ARGV, 1, -1 do
    local row = find_row(rows, string.sub(ARGV[index], 1, 16), 0)
    if row then
      redis.call('SETRANGE', KEYS[1], 80 + row - 1, ARGV[index])
    end
  end
end
return 0
