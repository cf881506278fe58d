-- Stores a loaded value if the lease taken before its load still stands, under the generation it was taken in.
-- KEYS: meta, entry.
-- ARGV: token (16 bytes), discipline (0 cdc, 1 ttl), generation (16 bytes), expiry in ms, the whole entry.
-- Answers 0: stored. 1: no live meta. 2: another generation. 3: the lease does not stand.
-- It is the one script that is handed a payload: comparing and storing must be one step.
if ARGV[2] == '0' then
  local meta = redis.call('GETRANGE', KEYS[1], 0, 71)
  if #meta < 72 or string.sub(meta, 1, 3) ~= 'CM\1' or string.byte(meta, 4) ~= 0 then
    return 1
  end
  if string.sub(meta, 9, 24) ~= ARGV[3] then
    return 2
  end
end

local head = redis.call('GETRANGE', KEYS[2], 0, 95)
if #head < 96 or string.sub(head, 1, 3) ~= 'CF\1' or string.sub(head, 73, 88) ~= ARGV[1] then
  return 3
end
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] >= struct.unpack('>I8', string.sub(head, 89, 96)) then
  return 3
end
redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[4])
return 0
