-- The part of the host library that is written in Lua: time, modules, files, bit32.
-- Called once with a function that gives the timestamp of the message in milliseconds, and those that read data.
local timestamp, data_size, data_read = ...

os = {}

-- Days since 1970-01-01 of a civil date, by the Gregorian calendar.
local function days_of(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local era = year // 400
  local of_era = year - era * 400
  local of_year = (153 * (month - 3) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

local function date_of(seconds)
  local days, rest = seconds // 86400, seconds % 86400
  local z = days + 719468
  local era, of_era = z // 146097, z % 146097
  local year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local m = (5 * of_year + 2) // 153
  local month = m < 10 and m + 3 or m - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return {
    year = year, month = month, day = of_year - (153 * m + 2) // 5 + 1,
    hour = rest // 3600, min = rest % 3600 // 60, sec = rest % 60,
    wday = (days + 4) % 7 + 1, yday = days - days_of(year, 1, 1) + 1, isdst = false,
  }
end

-- Without argument the time of the message in milliseconds, as aos has it; with a table its seconds since 1970.
function os.time(date)
  if date == nil then return timestamp() end
  local function field(name, default)
    local value = math.tointeger(date[name]) or default
    return value or error("field '" .. name .. "' missing in date table", 3)
  end
  local months = field("month") - 1
  local days = days_of(field("year") + months // 12, months % 12 + 1, 1) + field("day") - 1
  return days * 86400 + field("hour", 12) * 3600 + field("min", 0) * 60 + field("sec", 0)
end

local day_names = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }
local month_names = {
  "January", "February", "March", "April", "May", "June",
  "July", "August", "September", "October", "November", "December",
}

local directives = {
  a = function(d) return day_names[d.wday]:sub(1, 3) end,
  A = function(d) return day_names[d.wday] end,
  b = function(d) return month_names[d.month]:sub(1, 3) end,
  B = function(d) return month_names[d.month] end,
  d = function(d) return ("%02d"):format(d.day) end,
  e = function(d) return ("%2d"):format(d.day) end,
  H = function(d) return ("%02d"):format(d.hour) end,
  I = function(d) return ("%02d"):format((d.hour + 11) % 12 + 1) end,
  j = function(d) return ("%03d"):format(d.yday) end,
  m = function(d) return ("%02d"):format(d.month) end,
  M = function(d) return ("%02d"):format(d.min) end,
  n = function() return "\n" end,
  p = function(d) return d.hour < 12 and "AM" or "PM" end,
  S = function(d) return ("%02d"):format(d.sec) end,
  t = function() return "\t" end,
  u = function(d) return tostring((d.wday + 5) % 7 + 1) end,
  w = function(d) return tostring(d.wday - 1) end,
  y = function(d) return ("%02d"):format(d.year % 100) end,
  Y = function(d) return tostring(d.year) end,
  z = function() return "+0000" end,
  Z = function() return "UTC" end,
  ["%"] = function() return "%" end,
}
local composed = {
  c = "%a %b %e %H:%M:%S %Y", D = "%m/%d/%y", F = "%Y-%m-%d", h = "%b", r = "%I:%M:%S %p",
  R = "%H:%M", T = "%H:%M:%S", x = "%m/%d/%y", X = "%H:%M:%S",
}

-- As in Lua, always UTC; without a time (in seconds) that of the message.
function os.date(format, seconds)
  format = format or "%c"
  seconds = seconds == nil and timestamp() // 1000 or math.floor(seconds)
  local date = date_of(seconds)
  if format:sub(1, 1) == "!" then format = format:sub(2) end
  if format:sub(1, 2) == "*t" then return date end
  format = format:gsub("%%([cDFhrRTxX])", composed)
  return (format:gsub("%%(.?)", function(directive)
    local write = directives[directive]
    return write and write(date) or error("invalid conversion specifier '%" .. directive .. "'", 4)
  end))
end

function os.difftime(later, earlier)
  return later - (earlier or 0)
end

-- No clock runs while a message is evaluated.
function os.clock()
  return 0.0
end

package = {
  loaded = {
    _G = _G, coroutine = coroutine, debug = debug, math = math, os = os, string = string, table = table, utf8 = utf8,
  },
  preload = {},
}

-- Modules come from `package.preload`; there are no files.
function require(name)
  local loaded = package.loaded
  if loaded[name] ~= nil then return loaded[name] end
  local loader = package.preload[name]
  if type(loader) ~= "function" then error("module '" .. tostring(name) .. "' not found", 2) end
  local result = loader(name)
  if result ~= nil then loaded[name] = result end
  if loaded[name] == nil then loaded[name] = true end
  return loaded[name]
end

-- Data of the permaweb that the process's spawn or an assignment to it named: `require("ao.data")(id)` has its `size`
-- and gives ranges of it by `:read(offset, count)`, from there to the end without a count. Nil if it was not named.
local Data = { __name = "ao.data" }
Data.__index = Data

function Data:read(offset, count)
  return data_read(self.id, offset or 0, count or self.size)
end

package.loaded["ao.data"] = function(id)
  local size = data_size(id)
  return size and setmetatable({ id = id, size = size }, Data)
end

-- The same as files: `/data/<id>`, to be read only.
io = {}
local File = { __name = "FILE*" }
File.__index = File
-- Bytes in which the end of a line is looked for.
local LINE_BYTES = 4096

local function checked(file)
  if getmetatable(file) ~= File then error("a file is expected", 3) end
  if file.closed then error("attempt to use a closed file", 3) end
end

-- The next bytes; nil at the end.
local function read_count(file, count)
  local bytes = data_read(file.id, file.at, count)
  file.at = file.at + #bytes
  if bytes == "" and (count > 0 or file.at >= file.size) then return nil end
  return bytes
end

-- The next line, with its end if that is wanted; nil at the end.
local function read_line(file, with_end)
  if file.at >= file.size then return nil end
  local parts = {}
  while true do
    local part = data_read(file.id, file.at, LINE_BYTES)
    local place = part:find("\n", 1, true)
    if place or part == "" then
      file.at = file.at + (place or 0)
      parts[#parts + 1] = part:sub(1, with_end and place or (place or 1) - 1)
      return table.concat(parts)
    end
    file.at = file.at + #part
    parts[#parts + 1] = part
  end
end

local function read_one(file, format)
  local count = math.tointeger(format)
  if count then return read_count(file, count) end
  local kind = tostring(format):gsub("^%*", ""):sub(1, 1)
  if kind == "l" then return read_line(file, false) end
  if kind == "L" then return read_line(file, true) end
  if kind == "a" then return read_count(file, file.size - file.at) or "" end
  error("invalid format '" .. tostring(format) .. "': l, L, a or a number of bytes is expected", 3)
end

function File:read(...)
  checked(self)
  local formats = table.pack(...)
  if formats.n == 0 then return read_line(self, false) end
  local results = {}
  for place = 1, formats.n do
    results[place] = read_one(self, formats[place])
    if results[place] == nil then return table.unpack(results, 1, place) end
  end
  return table.unpack(results, 1, formats.n)
end

function File:lines(...)
  checked(self)
  local formats = table.pack(...)
  return function() return self:read(table.unpack(formats, 1, formats.n)) end
end

function File:seek(whence, offset)
  checked(self)
  local from = ({ set = 0, cur = self.at, ["end"] = self.size })[whence or "cur"]
  if not from then error("invalid option '" .. tostring(whence) .. "': set, cur or end is expected", 2) end
  local at = from + (math.tointeger(offset or 0) or error("the offset must be a whole number", 2))
  if at < 0 then return nil, "Invalid argument", 22 end
  self.at = at
  return at
end

function File:close()
  checked(self)
  self.closed = true
  return true
end

function io.open(path, mode)
  if not (mode or "r"):find("^rb?$") then return nil, path .. ": Read-only file system", 30 end
  local id = path:match("^/data/([%w_-]+)$")
  local size = id and data_size(id)
  if not size then return nil, path .. ": No such file or directory", 2 end
  return setmetatable({ id = id, size = size, at = 0 }, File)
end

function io.lines(path, ...)
  local file, cause = io.open(path)
  if not file then error(cause, 2) end
  return file:lines(...)
end

function io.type(value)
  if getmetatable(value) ~= File then return nil end
  return value.closed and "closed file" or "file"
end

package.loaded.io = io

-- Lua 5.2's library, on 32 bits.
bit32 = {}
local mask = 0xffffffff

local function word(value)
  return (math.tointeger(value) or math.floor(value)) & mask
end

local function fold(operation, initial)
  return function(...)
    local result = initial
    for place = 1, select("#", ...) do result = operation(result, word((select(place, ...)))) end
    return result
  end
end

bit32.band = fold(function(a, b) return a & b end, mask)
bit32.bor = fold(function(a, b) return a | b end, 0)
bit32.bxor = fold(function(a, b) return a ~ b end, 0)

function bit32.btest(...)
  return bit32.band(...) ~= 0
end

function bit32.bnot(value)
  return ~word(value) & mask
end

function bit32.lshift(value, by)
  return by >= 0 and word(value) << by & mask or word(value) >> -by
end

function bit32.rshift(value, by)
  return bit32.lshift(value, -by)
end

function bit32.arshift(value, by)
  value = word(value)
  if by < 0 or value < 0x80000000 then return bit32.rshift(value, by) end
  if by > 31 then return mask end
  return value >> by | (mask << (32 - by)) & mask
end

function bit32.lrotate(value, by)
  value, by = word(value), by % 32
  return (value << by | value >> (32 - by)) & mask
end

function bit32.rrotate(value, by)
  return bit32.lrotate(value, -by)
end

local function field_mask(field, width)
  width = width or 1
  if field < 0 then error("field cannot be negative", 3) end
  if width < 1 then error("width must be positive", 3) end
  if field + width > 32 then error("trying to access non-existent bits", 3) end
  return ~(-1 << width)
end

function bit32.extract(value, field, width)
  return word(value) >> field & field_mask(field, width)
end

function bit32.replace(value, with, field, width)
  local bits = field_mask(field, width)
  return word(value) & ~(bits << field) & mask | (word(with) & bits) << field
end

package.loaded.bit32 = bit32
