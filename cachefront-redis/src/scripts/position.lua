-- Functions for scripts that compare positions, which are texts of GTID sets.

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
    if string.sub(part, 1, #origin + 1) == origin .. ':' and string.find(part, '^%d', #origin + 2) then
      for first, last in string.gmatch(string.sub(part, #origin + 2), '(%d+)%-?(%d*)') do
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

-- Returns true if a position contains all commits of a list, of which there is at least one.
local function has_seen(position, commits)
  if position == '' or commits == '' then
    return false
  end
  for commit in string.gmatch(commits, '[^,]+') do
    if not contains(position, commit) then
      return false
    end
  end
  return true
end
