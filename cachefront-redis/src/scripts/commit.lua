-- Advances the applied position of a shard, if its meta is as the invalidator expects and the server is still the one
-- that the invalidator connected to.
-- KEYS: meta. ARGV: replication ids, generation (16 bytes), term, applied order, the next applied order, source time
-- (8 bytes each, big-endian; source time 0: keep the current one), position, the source's resume data.
-- Returns 0: done. 5: another replication id. Others: see `compare`.
local meta, rows = read_meta(KEYS[1])
local difference = compare(meta, ARGV[2], ARGV[3], ARGV[4])
if difference ~= 0 then
  return difference
elseif struct.unpack('>I8', ARGV[5]) < struct.unpack('>I8', ARGV[4]) then
  return 4
end
-- A server that was demoted and promoted again within one connection may have lost the invalidations that this commit
-- confirms.
if not has_replication_id(ARGV[1]) then
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
local from, origin, position, note = texts_of(meta, rows)
-- The old position may be long; it is replaced without being read.
local origin_text = redis.call('GETRANGE', KEYS[1], from, from + origin - 1)
local names = redis.call('GETRANGE', KEYS[1], from + origin + position + note, -1)
write_though_full(KEYS[1])
redis.call('SET', KEYS[1], string.sub(meta, 1, 32) .. hi .. ARGV[5] .. source_time
  .. struct.pack('>I4I4I4', origin, #ARGV[7], #ARGV[8]) .. string.sub(meta, 69, 72) .. next_beat(meta)
  .. string.sub(meta, 77, 80) .. rows .. origin_text .. ARGV[7] .. ARGV[8] .. names)
return 0
