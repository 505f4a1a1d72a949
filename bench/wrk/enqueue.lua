-- Enqueue small tasks, one a request.
local headers = { ["X-API-Key"] = os.getenv("BENCH_KEY"), ["Content-Type"] = "application/json" }
local body = '{"content":"' .. string.rep("x", 200) .. '","source":"bench"}'
function request()
  return wrk.format("POST", "/api/queue", headers, body)
end
