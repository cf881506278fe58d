-- Puts a new term in force, and with it what all shards have applied.
-- KEYS: meta. ARGV: the meta as it was composed over all shards, the term (8 bytes, big-endian).
-- Answers 0: done. 1: no meta. 2: another generation. 3: a term as high or higher. 4: less is applied than was read.
local meta = redis.call('GETRANGE', KEYS[1], 0, 71)
local state = ARGV[1]
if #meta < 72 or string.sub(meta, 1, 3) ~= 'CM\1' then
  return 1
elseif string.sub(meta, 9, 24) ~= string.sub(state, 9, 24) then
  return 2
elseif struct.unpack('>I8', ARGV[2]) <= struct.unpack('>I8', string.sub(meta, 25, 32)) then
  return 3
elseif struct.unpack('>I8', string.sub(meta, 41, 48)) < struct.unpack('>I8', string.sub(state, 41, 48)) then
  return 4
end
local hi = string.sub(meta, 33, 40)
if struct.unpack('>I8', string.sub(state, 33, 40)) > struct.unpack('>I8', hi) then
  hi = string.sub(state, 33, 40)
end
-- The shard keeps its state and the number of shards.
redis.call('SET', KEYS[1], string.sub(meta, 1, 8) .. string.sub(state, 9, 24) .. ARGV[2] .. hi .. string.sub(state, 41))
return 0
