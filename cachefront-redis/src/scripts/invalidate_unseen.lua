-- Applies changes to a few keys of one shard. Revokes every lease. Keeps an entry only if its load is known to have seen all
-- commits that changed its key, and if a covered cache has its generation; removes all others.
-- KEYS: meta, then the entries. ARGV: for each entry its commits as `origin:number`, joined by commas.
local call, unpack_at, sub = redis.call, struct.unpack, string.sub
local _, rows = read_meta(KEYS[1])

local function survives(key, head, commits)
  if not is_value(head) or rows == nil or not find_row(rows, sub(head, 17, 32), 16) then
    return false
  end
  local length = unpack_at('>I4', head, 13)
  return length > 0 and has_seen(call('GETRANGE', key, 96, 95 + length), commits)
end

write_though_full(KEYS[1])
for index = 2, #KEYS do
  local key = KEYS[index]
  local head = call('GETRANGE', key, 0, 95)
  if survives(key, head, ARGV[index - 1]) then
    revoke_lease(key, head)
  elseif #head > 0 then
    call('UNLINK', key)
  end
end
return 0
