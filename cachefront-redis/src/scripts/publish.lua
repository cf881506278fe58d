-- Appends a message to the bus and returns its sequence. Returns 0 if the server is no longer the one that the publisher
-- connected to: the message names that server, and readers rely on it.
-- KEYS: stream. ARGV: replication ids, the message, the minimum number of messages to keep.
-- A new stream begins at the time in µs, which is above every sequence that a lost stream can have had. So a reader of the
-- lost one sees a gap and not a continuation.
if not has_replication_id(ARGV[1]) then
  return 0
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local sequence
if last[1] then
  sequence = tonumber(string.match(last[1][1], '^(%d+)')) + 1
else
  local time = redis.call('TIME')
  sequence = time[1] * 1000000 + time[2]
end
write_though_full(KEYS[1])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', sequence), 'm', ARGV[2])
return sequence
