-- Applies one batch of changes to many keys of one shard: breaks every lease, and removes every entry but those whose
-- load is known to have seen the batch.
-- KEYS: meta, then the entries. ARGV: the lowest order that counts as seen (8 bytes, big-endian).
local call, unpack_at, byte, sub = redis.call, struct.unpack, string.byte, string.sub
local meta = call('GETRANGE', KEYS[1], 0, 71)
local generation = #meta == 72 and sub(meta, 1, 3) == 'CM\1' and sub(meta, 9, 24)
local seen_from = unpack_at('>I8', ARGV[1])
local gone = {}

local function survives(head)
  if #head < 96 then
    return false
  end
  local order = unpack_at('>I8', head, 33)
  if order == 0 or order < seen_from then
    return false
  end
  local state = byte(head, 4)
  return (state == 1 or state == 2)
    and byte(head, 5) == 0
    and sub(head, 1, 3) == 'CF\1'
    and sub(head, 17, 32) == generation
end

for index = 2, #KEYS do
  local key = KEYS[index]
  local head = call('GETRANGE', key, 0, 95)
  if survives(head) then
    local upper, lower = unpack_at('>I8I8', head, 73)
    if upper ~= 0 or lower ~= 0 then
      call('SETRANGE', key, 72, string.rep('\0', 24))
    end
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
