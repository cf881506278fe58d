-- Notes the replication id of the server that a shard was found on.
-- KEYS: home. ARGV: replication id.
write_though_full(KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return 0
