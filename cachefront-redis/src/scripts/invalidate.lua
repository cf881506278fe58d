-- Applies one batch of changes to many keys of one shard: breaks every lease, and removes every entry but those whose
-- load is known to have seen the batch and whose generation a covered cache has.
-- KEYS: meta, then the entries. ARGV: the lowest order that counts as seen (8 bytes, big-endian).
local call, unpack_at, sub = redis.call, struct.unpack, string.sub
local _, rows = read_meta(KEYS[1])
local seen_from = unpack_at('>I8', ARGV[1])
local gone = {}
-- Whether a covered cache has the generation: entries share few.
local in_force = {}

local function is_in_force(generation)
  if in_force[generation] == nil then
    in_force[generation] = rows ~= nil and find_row(rows, generation, 16) ~= nil
  end
  return in_force[generation]
end

local function survives(head)
  if not is_value(head) then
    return false
  end
  local order = unpack_at('>I8', head, 33)
  return order ~= 0 and order >= seen_from and is_in_force(sub(head, 17, 32))
end

for index = 2, #KEYS do
  local key = KEYS[index]
  local head = call('GETRANGE', key, 0, 95)
  if survives(head) then
    break_lease(key, head)
  elseif #head > 0 then
    gone[#gone + 1] = key
    -- The number of arguments that Lua can hand over at once is limited.
    if #gone == 500 then
      call('UNLINK', unpack(gone))
      gone = {}
    end
  end
end
if #gone > 0 then
  call('UNLINK', unpack(gone))
end
return 0
