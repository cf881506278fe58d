-- Stores a loaded value if the lease that was taken before its load is still valid, and if a covered cache still has the
-- generation of that lease.
-- KEYS: meta, entry.
-- ARGV: token (16 bytes), mode (0 cdc, 1 ttl), generation (16 bytes), expiry in ms, the whole entry.
-- Returns 0: stored. 1: no live meta. 2: no covered cache has this generation. 3: the lease is not valid.
-- Besides row_image.lua it is the only script that receives a payload, because comparing and storing must be atomic.
if ARGV[2] == '0' then
  local meta, rows = read_meta(KEYS[1])
  if not meta or string.byte(meta, 4) ~= 0 then
    return 1
  elseif not find_row(rows, ARGV[3], 16) then
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
