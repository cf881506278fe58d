-- Appends a message to the bus under the next sequence, and returns that sequence; 0 if the server is no longer the one
-- that the publisher knows: the message names it, and readers trust that name.
-- KEYS: stream. ARGV: replication id, the message, the number of messages to keep at least.
-- A stream that is new, or was lost, begins at the time in µs: above every sequence it ever had, so that a reader of
-- the lost one sees a gap and not a continuation.
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
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', sequence), 'm', ARGV[2])
return sequence
