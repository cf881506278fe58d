-- Applies changes to a few keys of one shard. Revokes every lease. Keeps an entry only if its load is known to have seen all
-- commits that changed its key, and if a covered cache has its generation; removes all others.
-- KEYS: meta, then the entries. ARGV: for each entry its commits as `origin:number`, joined by commas.
local call, unpack_at, sub = redis.call, struct.unpack, string.sub
local _, rows = read_meta(KEYS[1])

-- Returns true if a position, which is the text of a GTID set, contains a commit.
local function contains(position, commit)
  local origin, number = string.match(commit, '^(.*):(%d+)$')
  number = tonumber(number)
  -- Lua numbers are not exact beyond 2^53: such a commit counts as not seen.
  if not number or number >= 9007199254740992 then
    return false
  end
  for part in string.gmatch(position, '[^,]+') do
    -- An origin with a tag has the same prefix, but a tag does not begin with a digit.
    if sub(part, 1, #origin + 1) == origin .. ':' and string.find(part, '^%d', #origin + 2) then
      for first, last in string.gmatch(sub(part, #origin + 2), '(%d+)%-?(%d*)') do
        local from = tonumber(first)
        local to = last == '' and from or tonumber(last)
        if from <= number and number <= to then
          return true
        end
      end
    end
  end
  return false
end

local function has_seen(key, head, commits)
  local length = unpack_at('>I4', head, 13)
  if length == 0 or commits == '' then
    return false
  end
  local position = call('GETRANGE', key, 96, 95 + length)
  for commit in string.gmatch(commits, '[^,]+') do
    if not contains(position, commit) then
      return false
    end
  end
  return true
end

local function survives(key, head, commits)
  return is_value(head)
    and rows ~= nil
    and find_row(rows, sub(head, 17, 32), 16) ~= nil
    and has_seen(key, head, commits)
end

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
