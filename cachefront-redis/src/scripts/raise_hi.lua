-- Writes that everything up to an order may be on its way; a higher one stays.
-- KEYS: meta. ARGV: generation (16 bytes), term, applied order and the order (8 bytes each, big-endian).
-- Answers 0: done. 1: no meta. 2: another generation. 3: another term. 4: another applied order.
local meta = redis.call('GETRANGE', KEYS[1], 0, 71)
if #meta < 72 or string.sub(meta, 1, 3) ~= 'CM\1' then
  return 1
elseif string.sub(meta, 9, 24) ~= ARGV[1] then
  return 2
elseif string.sub(meta, 25, 32) ~= ARGV[2] then
  return 3
elseif string.sub(meta, 41, 48) ~= ARGV[3] then
  return 4
end
if struct.unpack('>I8', ARGV[4]) > struct.unpack('>I8', string.sub(meta, 33, 40)) then
  redis.call('SETRANGE', KEYS[1], 32, ARGV[4])
end
return 0
