-- Replaces a shard's meta, whatever its generation, under a term that is higher than the one in force.
-- KEYS: meta. ARGV: the new meta.
-- Returns 0: done. 3: a term as high or higher.
local meta = read_meta(KEYS[1])
if meta and struct.unpack('>I8', ARGV[1], 25) <= struct.unpack('>I8', meta, 25) then
  return 3
end
redis.call('SET', KEYS[1], ARGV[1])
return 0
