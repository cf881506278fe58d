-- Releases a lease. A value that the entry has is kept.
-- KEYS: entry. ARGV: token (16 bytes).
local head = redis.call('GETRANGE', KEYS[1], 0, 95)
if #head < 96 or string.sub(head, 1, 3) ~= 'CF\1' or string.sub(head, 73, 88) ~= ARGV[1] then
  return 0
end
if string.byte(head, 4) == 0 then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('SETRANGE', KEYS[1], 72, string.rep('\0', 24))
end
return 0
