-- The client of APM, ao's registry of packages: asks it for packages, and runs what it sends.
-- A package is named `@vendor/name`, or `name` for those of the vendor @apm; `@1.2.3` or `@` and the id of a message
-- behind that ask for a version.
local json = require("json")
local colors = require(".colors")

-- The registry, a process; what has been installed: versions by names.
local apm = { ID = "DKF8oXtPvh3q8s0fJFIeHFyHNM6oKrwMCUrPxEMroak", _version = "2.0.6", installed = {} }

local OWN_VENDOR = "@apm"
-- Length of a message's id.
local ID_BYTES = 43

local function is_version(text)
  return text:find("^%d+%.%d+%.%d+$") or #text == ID_BYTES and text:find("^[%w_-]+$")
end

-- A package's vendor and name, and the version that is asked for, if any.
local function parts_of(text)
  local vendor, rest = text:match("^(@[^/]*)/?(.*)$")
  local name, version = (rest or text):match("^([^@]*)@?(.*)$")
  vendor = vendor or OWN_VENDOR
  if not vendor:find("^@[%l%d-]+$") then error("Invalid vendor name", 0) end
  if not name:find("^[%w_-]+$") then error("Invalid package name", 0) end
  if version ~= "" and not is_version(version) then error("Invalid version", 0) end
  return vendor, name, version ~= "" and version or nil
end

local function ask(action, data)
  Send { Target = apm.ID, Action = action, Data = data }
end

function apm.install(text)
  local vendor, name, version = parts_of(text)
  local full_name = vendor .. "/" .. name
  if version and apm.installed[full_name] == version then return full_name .. " is installed already" end
  if version then full_name = full_name .. "@" .. version end
  ask("APM.Download", full_name)
  return "Download of " .. full_name .. " requested"
end

function apm.search(query)
  if not query then error("No search query provided", 0) end
  ask("APM.Search", query)
  return "Search for " .. query .. " requested"
end

function apm.info(query)
  if not query then error("No info query provided", 0) end
  ask("APM.Info", query)
  return "Info on " .. query .. " requested"
end

function apm.update()
  ask("APM.Update")
  return "Update requested"
end

-- What programs require a package as: those of the vendor @apm go by their bare names.
local function required_name(vendor, name)
  return vendor == OWN_VENDOR and name or vendor .. "/" .. name
end

function apm.uninstall(text)
  local vendor, name = parts_of(text)
  local full_name = vendor .. "/" .. name
  if not apm.installed[full_name] then error("Package not installed", 0) end
  apm.installed[full_name] = nil
  package.loaded[required_name(vendor, name)] = nil
  return "Uninstalled " .. full_name
end

-- What a response has as JSON, if it is not read yet.
local function decoded(data)
  return type(data) == "table" and data or json.decode(data)
end

-- Runs the source that a response has as hexadecimal text.
local function run(msg, name)
  local source = msg.Data:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
  local chunk, cause = load(source, "=" .. name, "t", _G)
  if not chunk then error("it does not compile: " .. cause, 0) end
  return chunk()
end

local function install_dependencies(text)
  for name, dependency in pairs(json.decode(text) or {}) do
    if apm.installed[name] ~= dependency.version then
      print("Installing dependency " .. name .. "@" .. dependency.version)
      apm.install(name)
    end
  end
end

local responses = {}

responses["APM.DownloadResponse"] = function(msg)
  local vendor, name = parts_of(msg.Name)
  package.loaded[required_name(vendor, name)] = run(msg, msg.Name)
  apm.installed[msg.Name] = msg.Version
  if msg.Dependencies then install_dependencies(msg.Dependencies) end
  print("Downloaded " .. msg.Name .. "@" .. tostring(msg.Version))
end

responses["APM.SearchResponse"] = function(msg)
  local lines = {}
  for place, found in ipairs(decoded(msg.Data)) do
    lines[place] = found.Vendor .. "/" .. found.Name .. " | " .. found.Description
  end
  print(#lines > 0 and "\n" .. table.concat(lines, "\n") .. "\n" or "No packages found")
end

responses["APM.InfoResponse"] = function(msg)
  local about = decoded(msg.Data)
  local function show(what, value)
    print(what .. ": " .. colors.green .. tostring(value) .. colors.reset)
  end
  show("Package", about.Vendor .. "/" .. about.Name)
  show("Description", about.Description)
  show("Latest Version", about.Version)
  show("Installs", about.TotalInstalls)
  show("APM Url", "https://apm.betteridea.dev/pkg?id=" .. tostring(about.PkgID))
  show("Repository Url", about.Repository)
end

responses["APM.UpdateResponse"] = function(msg)
  run(msg, "apm")
  apm._version = msg.Version
  print("Updated APM to " .. tostring(msg.Version))
end

-- What the registry sends is code to run: nobody else is listened to. What can't be used is told to the registry.
local function answer_to(respond)
  return function(msg)
    if msg.From ~= apm.ID then return print(msg.Action .. " - not from the registry: ignored") end
    if msg.Result and msg.Result ~= "success" then return print(msg.Action .. " - failed: " .. tostring(msg.Data)) end
    local ok, cause = pcall(respond, msg)
    if not ok then
      print(msg.Action .. " - " .. tostring(cause))
      ao.send { Target = msg.From, Data = tostring(cause):match(":%d+: (.+)") or tostring(cause), Result = "error" }
    end
    -- The tag is LatestClientVersion.
    local latest = msg.Latestclientversion
    if latest and latest > apm._version then print("APM " .. latest .. " is there: apm.update() gets it") end
  end
end

for _, action in ipairs { "APM.DownloadResponse", "APM.SearchResponse", "APM.InfoResponse", "APM.UpdateResponse" } do
  Handlers.add(action, action, answer_to(responses[action]))
end

return apm
