-- Runs the health script of docs/examples/argocd/health.yaml on resources in each state: lua5.4 health.lua FILE

local script = {}
local inside = false
for line in io.lines(arg[1]) do
  if line:find("interconn.dev_MeshNode:", 1, true) then
    inside = true
  elseif inside and line:match("^    ") then
    script[#script + 1] = line
  elseif inside then
    break
  end
end
assert(#script > 5, "no script was found")
local health = assert(load(table.concat(script, "\n"), "health", "t", setmetatable({}, {
  __index = function(_, name)
    if name == "obj" then return obj end
    return ({ ipairs = ipairs })[name]
  end,
})))

local function condition(kind, status, generation)
  return { type = kind, status = status, observedGeneration = generation, message = kind .. " is " .. status }
end

local cases = {
  { "nobody has looked", nil, "Progressing" },
  { "no conditions yet", {}, "Progressing" },
  { "ready", { condition("Ready", "True", 2) }, "Healthy" },
  { "ready, and a partner is away", { condition("Reachable", "False", 2), condition("Ready", "True", 2) }, "Healthy" },
  { "ready for an older spec", { condition("Ready", "True", 1) }, "Progressing" },
  { "at work", { condition("Ready", "False", 2), condition("Reconciling", "True", 2) }, "Progressing" },
  { "stalled", { condition("Ready", "False", 2), condition("Stalled", "True", 2) }, "Degraded" },
  { "stalled by an older spec", { condition("Stalled", "True", 1) }, "Progressing" },
}
for _, case in ipairs(cases) do
  obj = { metadata = { generation = 2 }, status = case[2] and { conditions = case[2] } }
  local answer = health()
  assert(answer.status == case[3], case[1] .. ": " .. answer.status)
  assert(answer.message and #answer.message > 0, case[1] .. ": no message")
end
