-- Voids what a shard's meta promises, until the next flush. A shard without a meta promises nothing.
-- KEYS: meta.
if read_meta(KEYS[1]) then
  redis.call('SETRANGE', KEYS[1], 3, '\1')
end
return 0
