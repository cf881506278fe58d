-- Suspends the meta of a shard until the next flush. Has no effect on a shard without a meta.
-- KEYS: meta.
if read_meta(KEYS[1]) then
  write_though_full(KEYS[1])
  redis.call('SETRANGE', KEYS[1], 3, '\1')
end
return 0
