-- Sets a new term, and the applied state that was combined from the metas of all shards. The shard keeps its number of
-- shards and its coverage. It is suspended afterwards if it or any other shard was.
-- KEYS: meta. ARGV: the combined meta, without coverage; the term (8 bytes, big-endian).
-- Returns 0: done. 1: no meta. 2: another generation. 3: the current term is as high or higher. 4: the applied order is
-- lower than the one that was read.
local meta, rows = read_meta(KEYS[1])
local state = ARGV[1]
if not meta then
  return 1
elseif string.sub(meta, 9, 24) ~= string.sub(state, 9, 24) then
  return 2
elseif struct.unpack('>I8', ARGV[2]) <= struct.unpack('>I8', meta, 25) then
  return 3
elseif struct.unpack('>I8', meta, 41) < struct.unpack('>I8', state, 41) then
  return 4
end
local hi = string.sub(meta, 33, 40)
if struct.unpack('>I8', state, 33) > struct.unpack('>I8', hi) then
  hi = string.sub(state, 33, 40)
end
-- Byte 4: 0 live, 1 suspended.
local suspended = string.char(math.max(string.byte(meta, 4), string.byte(state, 4)))
local from, origin, position, note = texts_of(meta, rows)
local names = redis.call('GETRANGE', KEYS[1], from + origin + position + note, -1)
write_though_full(KEYS[1])
redis.call('SET', KEYS[1], string.sub(meta, 1, 3) .. suspended .. string.sub(meta, 5, 24) .. ARGV[2] .. hi .. string.sub(state, 41, 68)
  .. string.sub(meta, 69, 72) .. next_beat(meta) .. string.rep('\0', 4) .. rows .. string.sub(state, 81) .. names)
return 0
