-- Functions for scripts that remove an entry or revoke its lease.

-- Returns true if the header of an entry (96 bytes) says that it holds a value, in cdc mode.
local function is_value(head)
  if #head < 96 or string.sub(head, 1, 3) ~= 'CF\1' or string.byte(head, 5) ~= 0 then
    return false
  end
  local state = string.byte(head, 4)
  return state == 1 or state == 2
end

-- Revokes the lease of an entry and keeps its value.
local function revoke_lease(key, head)
  local upper, lower = struct.unpack('>I8I8', head, 73)
  if upper ~= 0 or lower ~= 0 then
    redis.call('SETRANGE', key, 72, string.rep('\0', 24))
  end
end
