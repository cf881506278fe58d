-- Marks the meta as vacant: the holder of the term resigned.
-- KEYS: meta. ARGV: generation (16 bytes), term and applied order (8 bytes each, big-endian).
-- Returns 0: done. Others: see `compare`.
local difference = compare(read_meta(KEYS[1]), ARGV[1], ARGV[2], ARGV[3])
if difference == 0 then
  write_though_full(KEYS[1])
  redis.call('SETRANGE', KEYS[1], 76, '\1')
end
return difference
