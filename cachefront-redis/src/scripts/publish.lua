-- Appends a message to the bus under the next sequence, and answers that sequence.
-- KEYS: stream. ARGV: the message, the number of messages to keep at least.
-- A stream that is new, or was lost, begins at the time in µs: above every sequence it ever had, so that a reader of
-- the lost one sees a gap and not a continuation.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local sequence
if last[1] then
  sequence = tonumber(string.match(last[1][1], '^(%d+)')) + 1
else
  local time = redis.call('TIME')
  sequence = time[1] * 1000000 + time[2]
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', sequence), 'm', ARGV[1])
return sequence
