-- Voids what a shard's meta promises, until the next flush. A shard without a meta promises nothing.
-- KEYS: meta.
local meta = redis.call('GETRANGE', KEYS[1], 0, 71)
if #meta == 72 and string.sub(meta, 1, 3) == 'CM\1' then
  redis.call('SETRANGE', KEYS[1], 3, '\1')
end
return 0
