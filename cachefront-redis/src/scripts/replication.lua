-- True if the server is a primary with this replication id. It gets another one when it is promoted, or when its last
-- replica has been gone for long.
local function has_replication_id(id)
  local replication = redis.call('INFO', 'replication')
  return string.find(replication, 'role:master', 1, true) ~= nil
    and string.find(replication, 'master_replid:' .. id, 1, true) ~= nil
end
