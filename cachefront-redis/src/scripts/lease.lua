-- Takes the lease of a key, unless its entry is usable or another process has the lease.
-- KEYS: meta, entry.
-- ARGV: an entry's header with the requested lease and no value (96 bytes), the lease's duration in µs, reload (0 or 1),
-- the id of the reader's mapping (16 bytes).
-- Returns {0}: no live meta. {1, meta or ''}: granted. {2}: the entry is usable. {3, µs}: held, with the time until it
-- expires. {4}: the mapping is not covered.
local requested = ARGV[1]
local ttl_mode = string.byte(requested, 5) == 1
local generation
if ttl_mode then
  generation = string.sub(requested, 17, 32)
else
  local meta, rows = read_meta(KEYS[1])
  if not meta or string.byte(meta, 4) ~= 0 then
    return {0}
  end
  local row = find_row(rows, ARGV[4], 0)
  if not row then
    return {4}
  end
  generation = string.sub(rows, row + 16, row + 31)
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local duration = tonumber(ARGV[2])
local expiry = struct.pack('>I8', now + duration)
local milliseconds = math.ceil(duration / 1000)
local head = redis.call('GETRANGE', KEYS[2], 0, 95)
local current = #head == 96
  and string.sub(head, 1, 3) == 'CF\1'
  and string.byte(head, 5) == string.byte(requested, 5)
  and (ttl_mode or string.sub(head, 17, 32) == generation)

if not current then
  -- There is no entry, or one of another mode or generation, which is replaced together with its lease.
  local header = string.sub(requested, 1, 16) .. generation .. string.sub(requested, 33, 88) .. expiry
  redis.call('SET', KEYS[2], header, 'PX', milliseconds)
  return {1, redis.call('GET', KEYS[1]) or ''}
end

local state = string.byte(head, 4)
local hard = struct.unpack('>I8', string.sub(head, 57, 64))
if ARGV[3] == '0'
  and (state == 1 or state == 2)
  and string.sub(head, 9, 12) == string.sub(requested, 9, 12)
  and (hard == 0 or now < hard)
then
  return {2}
end

local expires = struct.unpack('>I8', string.sub(head, 89, 96))
if string.sub(head, 73, 88) ~= string.rep('\0', 16) and now < expires then
  return {3, expires - now}
end

redis.call('SETRANGE', KEYS[2], 72, string.sub(requested, 73, 88) .. expiry)
local left = redis.call('PTTL', KEYS[2])
if left >= 0 and left < milliseconds then
  redis.call('PEXPIRE', KEYS[2], milliseconds)
end
return {1, redis.call('GET', KEYS[1]) or ''}
