-- Begins every script that removes an entry or breaks its lease.

-- Whether the first 96 bytes of an entry say that it holds a value, under the cdc mode.
local function is_value(head)
  if #head < 96 or string.sub(head, 1, 3) ~= 'CF\1' or string.byte(head, 5) ~= 0 then
    return false
  end
  local state = string.byte(head, 4)
  return state == 1 or state == 2
end

-- Takes the lease from an entry that stays.
local function break_lease(key, head)
  local upper, lower = struct.unpack('>I8I8', head, 73)
  if upper ~= 0 or lower ~= 0 then
    redis.call('SETRANGE', key, 72, string.rep('\0', 24))
  end
end
