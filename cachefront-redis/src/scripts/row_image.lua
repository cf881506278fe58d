-- Replaces values by those of row images, in a few entries of one shard, if the invalidator still holds the term. Revokes
-- every lease. Keeps an entry whose load has seen all commits that changed its key; replaces one that is known to be older
-- than the new value; removes all others. Makes no entry.
-- KEYS: meta, then the entries. ARGV: generation (16 bytes), term, applied order (8 bytes each, big-endian); then five for each
-- entry: its commits as `origin:number`, joined by commas; what the value contains, as the text of a GTID set; the mapping's id
-- (16 bytes); codec and schema version (5 bytes); the value.
-- Returns {0, replaced, kept, removed, absent}, or {code}: see `compare`.
local meta, rows = read_meta(KEYS[1])
local difference = compare(meta, ARGV[1], ARGV[2], ARGV[3])
if difference ~= 0 then
  return {difference}
end

-- Parses a GTID set to a list of intervals for each origin. Returns nil if a number is too large to be exact.
local function parse(text)
  local set = {}
  for part in string.gmatch(text, '[^,]+') do
    local at = string.find(part, ':%d')
    if not at then
      return nil
    end
    local origin = string.sub(part, 1, at - 1)
    local intervals = set[origin] or {}
    set[origin] = intervals
    for first, last in string.gmatch(string.sub(part, at + 1), '(%d+)%-?(%d*)') do
      local from = tonumber(first)
      local to = last == '' and from or tonumber(last)
      if to >= 9007199254740992 then
        return nil
      end
      intervals[#intervals + 1] = {from, to}
    end
  end
  return set
end

local function covers(outer, inner)
  for origin, intervals in pairs(inner) do
    for _, wanted in ipairs(intervals) do
      local found = false
      for _, interval in ipairs(outer[origin] or {}) do
        found = found or (interval[1] <= wanted[1] and wanted[2] <= interval[2])
      end
      if not found then
        return false
      end
    end
  end
  return true
end

local function is_older(head, loaded, contains, mapping, form)
  local row = find_row(rows, mapping, 0)
  if not row
    or string.byte(head, 4) ~= 1
    or string.sub(head, 17, 32) ~= string.sub(rows, row + 16, row + 31)
    or string.sub(head, 6, 6) ~= string.sub(form, 1, 1)
    or string.sub(head, 9, 12) ~= string.sub(form, 2, 5)
    or loaded == ''
    or #contains > 1024
  then
    return false
  end
  local outer, inner = parse(contains), parse(loaded)
  return outer ~= nil and inner ~= nil and covers(outer, inner)
end

-- A value of a row image has about the size of the one that it replaces.
write_though_full(KEYS[1])
local counts = {0, 0, 0, 0, 0}
for index = 2, #KEYS do
  local key, at = KEYS[index], 5 * index - 6
  local commits, contains, mapping, form, value = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local head = redis.call('GETRANGE', key, 0, 95)
  if #head == 0 then
    counts[5] = counts[5] + 1
  elseif not is_value(head) or not find_row(rows, string.sub(head, 17, 32), 16) then
    redis.call('UNLINK', key)
    counts[4] = counts[4] + 1
  else
    local length = struct.unpack('>I4', head, 13)
    local loaded = length == 0 and '' or redis.call('GETRANGE', key, 96, 95 + length)
    if has_seen(loaded, commits) then
      revoke_lease(key, head)
      counts[3] = counts[3] + 1
    elseif is_older(head, loaded, contains, mapping, form) then
      local left = redis.call('PTTL', key)
      local entry = string.sub(head, 1, 6) .. '\0' .. string.sub(head, 8, 12) .. struct.pack('>I4', #contains)
        .. string.sub(head, 17, 72) .. string.rep('\0', 24) .. contains .. value
      -- It is 0 in the entry's last millisecond, and negative for an entry that does not expire.
      if left >= 0 then
        redis.call('SET', key, entry, 'PX', math.max(left, 1))
      else
        redis.call('SET', key, entry)
      end
      counts[2] = counts[2] + 1
    else
      redis.call('UNLINK', key)
      counts[4] = counts[4] + 1
    end
  end
end
return counts
