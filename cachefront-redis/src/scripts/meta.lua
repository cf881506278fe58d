-- Functions for scripts that read a meta (format 2, see `Meta` in the core).

-- Returns the fixed part of a shard's meta and the rows of its coverage table. The texts that follow may be long and are
-- not read. Returns nil if there is no meta, or if it is malformed.
local function read_meta(key)
  -- Enough for 16 covered caches.
  local meta = redis.call('GETRANGE', key, 0, 591)
  if #meta < 80 or string.sub(meta, 1, 3) ~= 'CM\2' then
    return nil
  end
  local covered = struct.unpack('>I4', meta, 69)
  local rows_end = 80 + 32 * covered
  if covered > 1024 then
    return nil
  elseif #meta < rows_end then
    meta = redis.call('GETRANGE', key, 0, rows_end - 1)
    if #meta < rows_end then
      return nil
    end
  end
  return string.sub(meta, 1, 80), string.sub(meta, 81, rows_end)
end

-- Finds the row that has these 16 bytes at `offset`. Returns the position of its first byte, or nil.
local function find_row(rows, bytes, offset)
  local at = string.find(rows, bytes, 1, true)
  while at do
    if (at - 1) % 32 == offset then
      return at - offset
    end
    at = string.find(rows, bytes, at + 1, true)
  end
  return nil
end

-- Compares a meta with what the invalidator expects: generation (16 bytes), term, applied order (8 bytes each).
-- Returns 0: as expected. 1: no meta. 2: another generation. 3: another term. 4: another applied order.
local function compare(meta, generation, term, applied_order)
  if not meta then
    return 1
  elseif string.sub(meta, 9, 24) ~= generation then
    return 2
  elseif string.sub(meta, 25, 32) ~= term then
    return 3
  elseif string.sub(meta, 41, 48) ~= applied_order then
    return 4
  end
  return 0
end

-- Returns the beat that follows the current one, with wrap-around.
local function next_beat(meta)
  return struct.pack('>I4', (struct.unpack('>I4', meta, 73) + 1) % 4294967296)
end

-- Returns the offset after the rows, counted from 0, and the lengths of the texts that begin there: origin, position and
-- the source's resume data.
local function texts_of(meta, rows)
  return 80 + #rows, struct.unpack('>I4I4I4', meta, 57)
end
