-- The same size of request as a heartbeat, to the bare application.
local headers = { ["X-API-Key"] = "k", ["Content-Type"] = "application/json" }
function request()
  return wrk.format("POST", "/api/queue/heartbeat", headers, '{"workerId":"daemon_bench1_1738591000000"}')
end
