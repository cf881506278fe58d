-- Returns true if the server is a primary with this replication id. The id changes when the server is promoted, and
-- when it has had no replica for a long time (`repl-backlog-ttl`).
local function has_replication_id(id)
  local replication = redis.call('INFO', 'replication')
  return string.find(replication, 'role:master', 1, true) ~= nil
    and string.find(replication, 'master_replid:' .. id, 1, true) ~= nil
end
