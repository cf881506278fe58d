-- Returns the sequence of the last item of the bus. Creates a missing stream with one item that is not a message.
-- KEYS: stream.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1] then
  return tonumber(string.match(last[1][1], '^(%d+)'))
end
local time = redis.call('TIME')
local sequence = time[1] * 1000000 + time[2]
write_though_full(KEYS[1])
redis.call('XADD', KEYS[1], string.format('%.0f-0', sequence), 's', '')
return sequence
