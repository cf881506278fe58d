-- Raises the high watermark of issued batches to an order. A higher watermark is kept.
-- KEYS: meta. ARGV: generation (16 bytes), term, applied order and the order (8 bytes each, big-endian).
-- Returns 0: done. Others: see `compare`.
local meta = read_meta(KEYS[1])
local difference = compare(meta, ARGV[1], ARGV[2], ARGV[3])
if difference ~= 0 then
  return difference
end
write_though_full(KEYS[1])
if struct.unpack('>I8', ARGV[4]) > struct.unpack('>I8', meta, 33) then
  redis.call('SETRANGE', KEYS[1], 32, ARGV[4])
end
redis.call('SETRANGE', KEYS[1], 72, next_beat(meta))
return 0
