-- Applies one batch of changes to many keys of one shard: breaks every lease, and removes every entry but those whose
-- load is known to have seen the batch.
-- KEYS: meta, then the entries. ARGV: the lowest order that counts as seen (8 bytes, big-endian).
local meta = redis.call('GETRANGE', KEYS[1], 0, 71)
local generation = #meta == 72 and string.sub(meta, 1, 3) == 'CM\1' and string.sub(meta, 9, 24)
local seen_from = struct.unpack('>I8', ARGV[1])
local none = string.rep('\0', 16)
local gone = {}

for index = 2, #KEYS do
  local head = redis.call('GETRANGE', KEYS[index], 0, 95)
  local order = #head == 96 and struct.unpack('>I8', string.sub(head, 33, 40)) or 0
  local state = order ~= 0 and string.byte(head, 4) or 0
  if order ~= 0
    and order >= seen_from
    and string.sub(head, 1, 3) == 'CF\1'
    and (state == 1 or state == 2)
    and string.byte(head, 5) == 0
    and string.sub(head, 17, 32) == generation
  then
    if string.sub(head, 73, 88) ~= none then
      redis.call('SETRANGE', KEYS[index], 72, string.rep('\0', 24))
    end
  elseif #head > 0 then
    gone[#gone + 1] = KEYS[index]
    -- The number of arguments that Lua can hand over at once is limited.
    if #gone == 500 then
      redis.call('UNLINK', unpack(gone))
      gone = {}
    end
  end
end
if #gone > 0 then
  redis.call('UNLINK', unpack(gone))
end
return 0
