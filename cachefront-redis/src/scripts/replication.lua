-- Returns true if the server is a primary with one of these replication ids, which are joined by commas. The id changes when
-- the server is promoted, and when it has had no replica for a long time (`repl-backlog-ttl`).
local function has_replication_id(ids)
  local replication = redis.call('INFO', 'replication')
  local id = string.match(replication, 'master_replid:(%x+)')
  return string.find(replication, 'role:master', 1, true) ~= nil
    and id ~= nil and string.find(ids, id, 1, true) ~= nil
end
