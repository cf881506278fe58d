-- Replaces the meta of a shard, whatever its generation is, if the term of the new one is higher.
-- KEYS: meta. ARGV: the new meta.
-- Returns 0: done. 3: the current term is as high or higher.
local meta = read_meta(KEYS[1])
if meta and struct.unpack('>I8', ARGV[1], 25) <= struct.unpack('>I8', meta, 25) then
  return 3
end
write_though_full(KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return 0
