-- Moves what a shard has applied, if the shard is as the invalidator holds it and the server is still the one it knows.
-- KEYS: meta. ARGV: replication id, generation (16 bytes), term, applied order, the next applied order, source time
-- (8 bytes each, big-endian; source time 0: keep the one that stands), position, note.
-- Answers 0: done. 1: no meta. 2: another generation. 3: another term. 4: another applied order.
-- 5: another replication id.
local meta = redis.call('GET', KEYS[1])
if not meta or #meta < 72 or string.sub(meta, 1, 3) ~= 'CM\1' then
  return 1
elseif string.sub(meta, 9, 24) ~= ARGV[2] then
  return 2
elseif string.sub(meta, 25, 32) ~= ARGV[3] then
  return 3
elseif string.sub(meta, 41, 48) ~= ARGV[4] then
  return 4
elseif struct.unpack('>I8', ARGV[5]) < struct.unpack('>I8', ARGV[4]) then
  return 4
end
-- A server that was demoted and promoted again over one connection may have lost what this commit vouches for.
local replication = redis.call('INFO', 'replication')
if not string.find(replication, 'master_replid:' .. ARGV[1], 1, true) then
  return 5
end

local hi = string.sub(meta, 33, 40)
if struct.unpack('>I8', ARGV[5]) > struct.unpack('>I8', hi) then
  hi = ARGV[5]
end
local source_time = ARGV[6]
if source_time == string.rep('\0', 8) then
  source_time = string.sub(meta, 49, 56)
end
local origin = string.sub(meta, 73, 72 + struct.unpack('>I4', string.sub(meta, 57, 60)))
redis.call('SET', KEYS[1], string.sub(meta, 1, 32) .. hi .. ARGV[5] .. source_time
  .. struct.pack('>I4I4I4', #origin, #ARGV[7], #ARGV[8]) .. string.rep('\0', 4)
  .. origin .. ARGV[7] .. ARGV[8])
return 0
