-- Replaces the coverage table of a shard. A mapping that is covered already keeps its generation, unless its row is fresh.
-- The meta gets a new generation of its own.
-- KEYS: meta. ARGV: generation (16 bytes), term and applied order (8 bytes each, big-endian), the next generation, the
-- rows (32 bytes each, sorted), one byte for each row (1: fresh), the names.
-- Returns 0: done. Others: see `compare`.
local meta, rows = read_meta(KEYS[1])
local difference = compare(meta, ARGV[1], ARGV[2], ARGV[3])
if difference ~= 0 then
  return difference
end
local requested, fresh = ARGV[5], ARGV[6]
local covered = {}
for index = 1, #fresh do
  local row = string.sub(requested, 32 * index - 31, 32 * index)
  local current = string.byte(fresh, index) == 0 and find_row(rows, string.sub(row, 1, 16), 0)
  covered[index] = current and string.sub(rows, current, current + 31) or row
end
local from, origin, position, note = texts_of(meta, rows)
local texts = redis.call('GETRANGE', KEYS[1], from, from + origin + position + note - 1)
write_though_full(KEYS[1])
redis.call('SET', KEYS[1], string.sub(meta, 1, 8) .. ARGV[4] .. string.sub(meta, 25, 68) .. struct.pack('>I4', #fresh) .. next_beat(meta)
  .. string.sub(meta, 77, 80) .. table.concat(covered) .. texts .. ARGV[7])
return 0
