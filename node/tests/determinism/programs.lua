-- Programs for the determinism test, ordinary and nasty: each is a row of chunks that are sent one after the other.
-- "--- NAME" begins a program, "--" alone ends a chunk. Those whose name begins with "runtime" are typed into a process
-- of our runtime, the others run in a bare module. Where a name begins with "waiting" a coroutine is suspended.
--- numbers
x = 1
--
x = x + 0.1
--
return x * 3, 7 // 2, 7 % -3, -7 // 2, 7.5 // 2
--
x = x / 3
--
return x, 2^0.5, 10^15, 1e300 * 1e10, -(0/0)
--
return math.maxinteger + 1, 1 << 63, 5 // 0.0, 3 | 4
--- trigonometry
t = {}
--
for i = 1, 30 do t[i] = math.sin(i) * math.cos(i / 7) + math.exp(i / 10) - math.log(i) end
--
return t
--
for i = 1, 30 do t[i] = t[i] ^ 0.3 end
--
return t[1], t[17], math.tan(t[3]), math.atan(t[4], t[5])
--
return ('%.17g'):format(t[9])
--- random
return math.random(), math.random(10), math.random(-5, 5)
--
math.randomseed(99)
--
return math.random(1 << 40)
--
return math.random()
--
return math.random(3), math.random()
--
math.randomseed(1.5) return math.random()
--- random after an error
math.randomseed(3)
--
math.random() error('no')
--
return math.random()
--
x = math.random()
--
return x, math.random()
--
error(tostring(math.random()))
--
return math.random()
--- holes
t = { 1, 2, nil, 4 }
--
return #t
--
t[6] = 6 t[5] = 5
--
return #t
--
t[#t] = nil return #t
--
for i = 1, 20, 3 do t[i] = i end return #t
--
t[4] = nil return #t
--
for i = 20, 1, -2 do t[i] = nil end return #t
--- holes that grow
t = {}
--
for i = 1, 64 do t[i] = i end
--
for i = 60, 33, -1 do t[i] = nil end return #t
--
return #t
--
t[100] = 1 for i = 33, 40 do t[i] = i end return #t
--
for i = 1, 32 do t[i] = nil end return #t
--
t.x = 1 return #t
--- pairs
t = { b = 1, a = 2, [3] = 3, [1] = 1, [2.5] = 4, [true] = 5, [-7] = 6 }
--
return t
--
t.c = 7 t.a = nil
--
local r = {} for k in pairs(t) do r[#r + 1] = k end return r
--
t[1e15] = 1 t[''] = 2 return t
--
local n = 0 for k in next, t do n = n + 1 end return n
--- changing while walking
t = {} for i = 1, 50 do t['k' .. i] = i end
--
for k, v in pairs(t) do if v % 2 == 0 then t[k] = nil end end
--
local n = 0 for _ in pairs(t) do n = n + 1 end return n
--
for k, v in pairs(t) do t[k] = v + 1 end return t.k1
--
for k in pairs(t) do t[k .. 'x'] = 1 break end return t.k1x
--
local n = 0 for _ in pairs(t) do n = n + 1 end return n
--- objects as keys
a, b, c = {}, {}, {}
--
set = { [a] = 'a', [b] = 'b', [c] = 'c' }
--
return set[a] .. set[b] .. set[c]
--
set[b] = nil
--
return set[a], set[b], set[c]
--
return next(set)
--
for i = 1, 200 do set[{}] = i end for k in pairs({ [a] = 1 }) do return set[k] end
--- objects come and go as keys
s = {}
--
for i = 1, 100 do local k = {} s[k] = true s[k] = nil end s.n = 1
--
return s.n, next(s)
--
k = {} s[k] = 5
--
for i = 1, 300 do local k = {} s[k] = i s[k] = nil end return s[k]
--
s[k] = nil return next(s)
--
s[print] = 1 s[k] = 2 return s[print] + s[k]
--- host functions as keys
s = { [print] = 1, [pairs] = 2, [string.rep] = 3 }
--
return s[print] + s[pairs] + s[string.rep]
--
s[math.sin] = 4
--
return s[math.sin]
--
s[print] = nil return s[print], s[pairs]
--
return next({ [print] = 9 }) == print
--- sort
t = {} for i = 1, 200 do t[i] = { key = i * 7919 % 31, place = i } end
--
table.sort(t, function(a, b) return a.key < b.key end)
--
return t[1].place, t[100].place, t[200].place
--
table.sort(t, function(a, b) return a.place > b.place end)
--
return t[1].place
--
table.sort(t, function() return true end) return t[7].place
--
return pcall(table.sort, { 1, 'a', 2 })
--- sort of texts
w = {} for s in ('the quick brown fox jumps over the lazy dog'):gmatch('%a+') do w[#w + 1] = s end
--
table.sort(w) return w
--
table.sort(w, function(a, b) return #a < #b end) return w
--
table.insert(w, 1, 'zebra') table.remove(w, 3)
--
return table.concat(w, '-')
--
return table.unpack(w, 2, 4)
--- closures
function counter() local n = 0 return function(by) n = n + (by or 1) return n end end
--
a, b = counter(), counter()
--
a() a(5)
--
b(100)
--
return a(), b()
--
local up = 1 f = function() up = up * 2 return up end g = function() return up end
--
f() f() return g()
--
c = counter c2 = c() return c2(), c2(), a()
--- closures that share
do local n = 0 inc = function() n = n + 1 return n end get = function() return n end end
--
inc() inc()
--
return get()
--
local i, g = inc, get both = function() i() return g() end
--
return both(), get()
--
inc, get = nil, nil
--
return both()
--- closures in a loop
fs = {} for i = 1, 5 do fs[i] = function() i = i + 1 return i end end
--
return fs[1](), fs[2](), fs[1]()
--
for k, f in ipairs(fs) do f() end
--
return fs[5](), fs[1]()
--
fs[3] = nil return fs[4]()
--
return #fs
--- are closures the same
function make() return function() return 1 end end
--
a, b = make(), make()
--
return a == b
--
c = make()
--
return a == c, b == c
--
return a == make()
--
d = function() return 1 end return d == a
--- metatables
V = {} V.__index = V V.__add = function(a, b) return setmetatable({ x = a.x + b.x }, V) end V.__eq =
  function(a, b) return a.x == b.x end
--
function V.new(x) return setmetatable({ x = x }, V) end V.__tostring = function(v) return 'V' .. v.x end
  V.__len = function(v) return v.x end
--
a, b = V.new(1), V.new(2)
--
c = a + b
--
return tostring(c), #c, c == V.new(3), c ~= a
--
V.__call = function(self, y) return self.x * y end return c(7)
--
V.__lt = function(a, b) return a.x < b.x end return a < b, b < a
--
return pcall(function() return a <= b end)
--- index and newindex
log = {}
--
p = setmetatable({}, { __index = function(t, k) log[#log + 1] = k return k .. '?' end, __newindex =
  function(t, k, v) rawset(t, k, v * 2) end })
--
p.a = 5
--
return p.a, p.b, p.c
--
p.a = 7 return p.a
--
return log
--
return rawget(p, 'z'), rawlen(p), rawequal(p, p)
--- pairs by metatable
t = setmetatable({}, { __pairs = function(t) local i = 0 return function() i = i + 1 if i < 4 then return i, i
  * i end end end })
--
local r = {} for k, v in pairs(t) do r[k] = v end return r
--
u = setmetatable({}, { __index = { x = 1 } })
--
return next(u), u.x
--
getmetatable(u).__index.x = 2 return u.x
--
return pcall(setmetatable, {}, { __gc = print })
--
return pcall(setmetatable, {}, { __mode = 'k' })
--- text metatable
function string.shout(s) return s:upper() .. '!' end
--
return ('a'):shout()
--
getmetatable('').__call = function(s, n) return s:rep(n) end
--
return ('ab')(3)
--
getmetatable('').__index = function(s, i) return type(i) == 'number' and s:sub(i, i) or string[i] end
--
s = 'hello' return s[1] .. s[5] .. s:upper()
--
string.shout = nil return pcall(function() return s:shout() end)
--- coroutines
function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
--
local s = 0 for i in gen(10) do s = s + i end return s
--
co = coroutine.create(function(a) return a + 1 end)
--
return coroutine.status(co)
--
return coroutine.resume(co, 41)
--
return coroutine.status(co), coroutine.resume(co)
--
return coroutine.isyieldable(), coroutine.running() ~= nil
--- waiting: a coroutine
-- a coroutine waits
--
co = coroutine.wrap(function() local n = 0 while true do n = n + coroutine.yield(n) end end) co()
--
return co(5)
--
return co(6)
--
return co(7)
--
x = co(1) return x
--
return co(2)
--- waiting: a coroutine that is gone later
co = coroutine.create(function() coroutine.yield() end)
--
coroutine.resume(co)
--
x = 1
--
coroutine.resume(co)
--
return coroutine.status(co)
--
y = 2 return x + y
--
co = nil return x
--- errors in coroutines
co = coroutine.create(function() error({ code = 5 }) end)
--
local ok, e = coroutine.resume(co) err = e return ok, e.code
--
return coroutine.status(co)
--
w = coroutine.wrap(function() error('inside') end)
--
return pcall(w)
--
return pcall(w)
--
return err.code
--- yields across pcall
co = coroutine.wrap(function() local ok, e = pcall(function() coroutine.yield(1) error('x') end)
  coroutine.yield(tostring(e)) return 'end' end)
--
return co(), co(), co()
--
r = { pcall(co) } return r
--
return xpcall(function() return coroutine.isyieldable() end, print)
--
return select('#', pcall(error))
--
return pcall(pcall, error, 'e')
--- errors
error('first')
--
error({ 1 })
--
error()
--
local t = nil t.x = 1
--
return undefined.field
--
return 1 + {}
--
return 'a' < 1
--
error('level', 2)
--
return #5
--
x = 1 return ('x')()
--- errors keep the state
x = { n = 0 }
--
x.n = 1 error('no')
--
return x.n
--
x.n = x.n + 1 x.big = ('y'):rep(1000) error('no')
--
return x.n, x.big
--
for i = 1, 1000 do x[i] = i end x.y.z = 1
--
return #x, x.n
--
x.n = 5
--
return x.n
--- errors that are caught
ok, e = pcall(error, 'x')
--
return ok, e
--
return xpcall(function() local a = nil return a.b end, function(m) return 'handled: ' .. m end)
--
return pcall(function() error(setmetatable({}, { __tostring = function() return 'object' end })) end)
--
return select(2, pcall(string.rep))
--
return select(2, pcall(string.rep, 'x', -1)), select(2, pcall(('x').bad))
--
return pcall(assert, false, 'said'), pcall(assert, nil)
--- traces
function a() return debug.traceback('here') end
--
function b() local r = a() return r end
--
return b()
--
return select(2, pcall(error, 'x', 1)), select(2, pcall(function() error('y') end))
--
return select(2, xpcall(b, print)), debug.traceback('top', 1)
--
return select(2, xpcall(function() b.c.d() end, debug.traceback))
--- big texts
s = ('abc'):rep(10000)
--
return #s, s:sub(-5)
--
t = { s, s .. 'x', s }
--
return #t[1] + #t[2], t[1] == t[3]
--
s = s:reverse():upper() return s:sub(1, 6)
--
k = {} k[s] = 1 k[s .. ''] = 2 return k[s]
--
return s:byte(1, 3)
--- binary texts
b = '\0\1\255\127' .. string.char(200, 0, 10)
--
return #b, b:byte(1, -1)
--
return string.pack('<i4 >d z', -7, 1.5, 'zero'):byte(1, -1)
--
return string.unpack('<i4', string.pack('<i4', -123456))
--
return ('%q'):format(b)
--
t = { [b] = 1, ['\0'] = 2, [''] = 3 } return t['\0'], t[b]
--
return utf8.char(228, 8364, 128512), utf8.len('ä€'), #utf8.charpattern
--- patterns
s = 'key = value; other=thing ;x= y'
--
r = {} for k, v in s:gmatch('(%w+)%s*=%s*(%w+)') do r[k] = v end return r
--
return s:gsub('%s+', ''), s:find('other', 1, true), s:match('^(%w+)')
--
return ('hello world'):gsub('o', { o = '0' }), ('abc'):gsub('%w', '%0%0'), ('abc'):gsub('', '-')
--
return ('f(a(b)c)d'):match('%b()'), ('THE (quick) fox'):find('%((%a+)%)'), ('x'):rep(3, ',')
--
return ('one;two;;four'):gsub(';;', ';nil;'), pcall(string.find, 'a', '[a')
--
it = ('a1b2c3'):gmatch('%a%d') it()
--
return it(), it(), it()
--- patterns with functions
n = 0
--
return ('a b c'):gsub('%a', function(c) n = n + 1 return c:upper() .. n end)
--
return n
--
return pcall(string.gsub, 'abc', '%w', function() error('in gsub') end)
--
return ('abc'):gsub('%w', function(c) if c == 'b' then return false end return c .. c end)
--
return pcall(string.gsub, 'x', 'x', '%2'), pcall(string.gsub, 'x', 'x', '%')
--
return ('x'):gsub('x', '%%')
--- a pattern bomb
x = 1
--
return ('a'):rep(40):find(('a*'):rep(20) .. 'b')
--
return x
--
return pcall(string.find, ('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30))
--
return x
--
return ('a'):rep(1000):find('.-b')
--- formats
return ('%5d|%-5d|%05d|%+d|%x|%X|%o'):format(42, 42, 42, 42, 255, 255, 8)
--
return ('%g %g %g %.3f %e %a'):format(0.1, 1e20, 1e-5, 1/3, 12345.678, 1.5)
--
return ('%s %s %s %10s|%-10s|'):format(nil, true, {}, 'r', 'l')
--
return ('%c%c%c %q %i'):format(76, 117, 97, 'a\nb', 3)
--
return tostring(1e100), tostring(-0.0), tostring(2^63), 2^53, 1e15, 123456789012345678
--
return pcall(string.format, '%d', 1.5), tonumber('0x1p4'), tonumber('z', 36), tonumber('1e'),
  tonumber('  7  ')
--- time
return os.time(), os.date('%Y-%m-%d %H:%M:%S')
--
t = os.time()
--
return os.time() - t, os.clock()
--
return os.date('*t', 86400 * 365).yday, os.time({ year = 2024, month = 2, day = 30, hour = 12 })
--
return os.date('%c', 0), os.date('!%x %X %p', 1e9), os.difftime(5, 3)
--
return pcall(os.date, '%Ez')
--- load
f = load('return ...')
--
return f(1, 2)
--
g = load('x = (x or 0) + 1 return x', 'named', 't', { x = 10 })
--
return g(), g(), x
--
h = load(function() if not done then done = true return 'return 5' end end) return h()
--
return load('syntax error here'), load('\27Lua')
--
k = load('local a = 1 return function() a = a + 1 return a end')()
--
return k(), k(), f(3), g()
--- modules
package.preload.thing = function(name) return { name = name, n = 0 } end
--
local thing = require('thing') thing.n = thing.n + 1
--
return require('thing').n, require('thing').name
--
package.loaded.thing = nil return require('thing').n
--
return pcall(require, 'nothing'), package.loaded.string == string
--
bits = bit32 return bit32.band(12, 10), bit32.lshift(1, 31), bit32.rrotate(1, 1), bit32.arshift(-8, 1)
--- environments
local _ENV = { print = print } y = 1
--
return y
--
function sandboxed() local _ENV = { x = 5 } return x end
--
return sandboxed()
--
e = {} do local _ENV = e function inside() return v end v = 3 end return e.inside()
--
e.v = 4 return e.inside(), v
--
setmetatable(_G, { __index = function(_, k) return 'no ' .. k end })
--
return anything
--
setmetatable(_G, nil) return anything
--- goto and loops
r = {} for i = 1, 3 do for j = 1, 3 do if j == 2 then goto continue end r[#r + 1] = i * j ::continue:: end end
  return r
--
for i = 10, 1, -3 do r[#r + 1] = i end return r
--
for i = 1.0, 2, 0.25 do r[#r + 1] = i end return #r, r[#r]
--
local i = 0 repeat local z = i i = i + 1 until z >= 3 return i
--
for i = math.maxinteger - 1, math.maxinteger do r.last = i end return r.last
--
return pcall(load('for i = 1, 10, 0 do end'))
--- varargs
function va(...) return select('#', ...), ... end
--
return va(), va(nil), va(nil, nil)
--
t = table.pack(va(1, nil, 3)) return t.n
--
return select(-1, 1, 2, 3), select(2, 'a', 'b', 'c')
--
function last(...) local t = { ... } return t[#t] end return last(1, 2, 3), (va(1))
--
return table.unpack({ 1, nil, 3 }, 1, 3), pcall(table.unpack, {}, 1, 1e8)
--- table functions
t = { 1, 2, 3 }
--
table.insert(t, 2, 9) table.insert(t, 4)
--
return t
--
return table.remove(t, 1), table.remove(t), t
--
return table.move(t, 1, 3, 2), table.concat({ 1, 2.5, 'x' }, '|')
--
return pcall(table.concat, { {} }), pcall(table.insert, t, 9, 1), pcall(table.insert, t)
--
return table.move({ 1, 2, 3 }, 2, 3, 1, { 9, 9, 9, 9 })
--- deep recursion
function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end
--
return deep(1000)
--
return deep(100000)
--
return pcall(deep, 1e7)
--
return deep(10)
--
function tail(n) if n == 0 then return 'done' end return tail(n - 1) end return tail(50000)
--
return select(2, pcall(string.gsub, ('x'):rep(300), 'x', function() return deep(10) end))
--- recursion through metamethods
m = setmetatable({}, {}) getmetatable(m).__index = function(t, k) return t[k .. 'x'] end
--
return pcall(function() return m.a end)
--
x = 1
--
l = setmetatable({}, { __index = function(t, k) return rawget(t, k - 1) or (k > 0 and t[k - 1]) end })
--
return pcall(function() return l[100000] end)
--
return x, pcall(function() return l[5] end)
--
c = setmetatable({}, { __concat = function(a, b) return a .. b end }) return pcall(function() return c .. 'x'
  end)
--- recursion through gsub
function again(n) return (('x'):gsub('x', function() return again(n + 1) end)) end
--
return pcall(again, 0)
--
x = 5
--
return x
--
function sorts(n) table.sort({ 2, 1 }, function() return sorts(n + 1) end) end return pcall(sorts, 0)
--
return x, pcall(function() local f f = function() return pcall(f) end return f() end)
--- the budget ends
x = 1
--
while true do x = x + 1 end
--
return x
--
x = 2 for i = 1, 1e9 do end
--
return x
--
pcall(function() while true do end end) x = 3
--
return x
--
for i = 1, 1e5 do x = x + 1 end return x
--- the budget ends in a coroutine
x = 1
--
local co = coroutine.wrap(function() while true do x = x + 1 end end) pcall(co)
--
return x
--
for i = 1, 1e6 do coroutine.wrap(function() end)() end
--
return x
--
local function f() pcall(f) f() end f()
--
return x
--- memory ends
x = 1
--
local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end
--
return x
--
x = ('y'):rep(1e9)
--
return x
--
pcall(function() local s = 'a' while true do s = s .. s end end) x = 9
--
return x
--
local t = {} for i = 1, 1e5 do t[i] = { i } end x = #t
--
return x
--- memory is held
held = {} for i = 1, 20 do held[i] = ('z'):rep(1e5) .. i end
--
return #held
--
for i = 1, 10 do held[i] = nil end
--
for i = 30, 60 do held[i] = ('w'):rep(1e5) .. i end return #held[60]
--
for i = 1, 200 do held[i] = ('v'):rep(1e5) .. i end
--
return #held, held[60] and #held[60]
--
held = nil
--
held = ('u'):rep(8e6) return #held
--- collectgarbage shows nothing
return collectgarbage('count'), collectgarbage()
--
for i = 1, 1e4 do local t = { i } end return collectgarbage('count')
--
return collectgarbage('step'), collectgarbage('isrunning')
--
x = {} for i = 1, 1000 do x[i] = {} end
--
return tostring(x), tostring(print), tostring(coroutine.create(print))
--
return ('%s %s'):format(x, function() end)
--- many small tables
t = {} for i = 1, 3000 do t[i] = { id = i, name = 'n' .. i } end
--
local s = 0 for i, v in ipairs(t) do s = s + v.id end return s
--
for i = 1, 3000, 2 do t[i] = nil end
--
local n = 0 for k in pairs(t) do n = n + 1 end return n, #t
--
for i = 1, 100 do t['k' .. i] = { i } end return t.k5[1]
--
local n = 0 for k in pairs(t) do n = n + 1 end return n
--- cycles
a = { name = 'a' } b = { name = 'b', other = a } a.other = b a.self = a
--
return a.other.other.name, a.self.self.self.name
--
b.list = { a, b, { a } }
--
return b.list[3][1] == a
--
a[a] = a b[a] = 1 return a[a] == a, b[a]
--
a = nil return b.other.other == b
--
b.other[b] = 'back' return b.other[b]
--- shared by name
alias = string s2 = table
--
alias.new = function() return 'new' end
--
return string.new(), s2 == table
--
local f = string.format string.format = nil fmt = f
--
return string.format, fmt('%d', 5)
--
string.format = fmt return ('%d'):format(6)
--
_G._G = nil return _G, _ENV == nil
--- library replaced
real = pairs pairs = function(t) return real({ x = 'replaced' }) end
--
local r = {} for k, v in pairs({}) do r[k] = v end return r
--
pairs = real tostring = function() return 'mine' end
--
return tostring(5)
--
tostring = nil error('after')
--
return pcall(function() return tostring(1) end)
--- iterators kept
n, t, k = pairs({ a = 1, b = 2, c = 3 })
--
k = n(t, k) return k
--
k = n(t, k) return k
--
k = n(t, k) return k
--
return n(t, k)
--
i, l, z = ipairs({ 7, 8 }) return i(l, 1)
--
c, s = utf8.codes('aé') return c(s, 0)
--- big integers of texts
function add(a, b) local r, carry = {}, 0 for i = 0, math.max(#a, #b) - 1 do local s = (tonumber(a:sub(-1 - i,
  -1 - i)) or 0) + (tonumber(b:sub(-1 - i, -1 - i)) or 0) + carry r[#r + 1] = s % 10 carry = s // 10 end if
  carry > 0 then r[#r + 1] = carry end return table.concat(r):reverse() end
--
f = { '1', '1' }
--
for i = 3, 150 do f[i] = add(f[i - 1], f[i - 2]) end
--
return f[150]
--
for i = 151, 200 do f[i] = add(f[i - 1], f[i - 2]) end return f[200]
--
return add('999', '1')
--- a queue
q = { first = 1, last = 0 } function push(v) q.last = q.last + 1 q[q.last] = v end function pop() local v =
  q[q.first] q[q.first] = nil q.first = q.first + 1 return v end
--
for i = 1, 40 do push(i) end
--
return pop() + pop()
--
for i = 1, 30 do pop() end
--
return pop(), q.first, q.last
--
for i = 1, 100 do push(i) pop() end return q.first, #q
--- a matrix
m = {} for i = 1, 12 do m[i] = {} for j = 1, 12 do m[i][j] = (i * j) % 7 / 3 end end
--
function mul(a, b) local c = {} for i = 1, 12 do c[i] = {} for j = 1, 12 do local s = 0.0 for k = 1, 12 do s =
  s + a[i][k] * b[k][j] end c[i][j] = s end end return c end
--
p = mul(m, m)
--
p = mul(p, m)
--
return p[3][4], p[12][12]
--
p = mul(p, p) return ('%.17g'):format(p[5][6])
--- messages
Sent = { { Target = 'a', Data = 'hi', Tags = { { name = 'x', value = 'y' } } } }
--
for i = 1, 5 do Sent[i] = { Target = 't' .. i, Data = ('d'):rep(i), Tags = {} } end
--
Sent = { { Target = 'b', Data = 5 } } return 1
--
error('no message')
--
Sent = { { Target = 'c', Data = '\255\0' } }
--
for i = 1, 1100 do Sent[i] = { Target = 'x', Tags = {} } end
--
return #Sent
--- what is returned is odd
return nil
--
return
--
return {}, { {} }, { [1] = { [2] = 3 } }
--
return function() end, print, coroutine.create(print)
--
Sent = 'no list'
--
Sent = { 5, 'x', { Target = {} } } return 1
--
return ('x'):rep(100000)
--
return Sent
--- a deep value
d = {} local t = d for i = 1, 300 do t.t = {} t = t.t end
--
local n, t = 0, d while t do n, t = n + 1, t.t end return n
--
d.x = 1
--
local t = d for i = 1, 150 do t = t.t end t.cut = true t.t = nil
--
local n, t = 0, d while t do n, t = n + 1, t.t end return n
--
return d.x
--- runtime: variables
x = 1
--
x + 1
--
y = { a = x }
--
y
--
x = nil
--
y.a
--
Inbox
--- runtime: sending
Send({ Target = 'other', Action = 'Hi', Data = 'there' })
--
for i = 1, 3 do Send({ Target = 't' .. i, Data = tostring(i) }) end
--
ao.reference
--
Send({ Target = 'other', Tags = { A = 'b', C = 'd' } })
--
ao.reference
--
error('unsent')
--
ao.reference
--
print('a', 1, {})
--- runtime: handlers
Handlers.add('ping', 'Ping', function(m) Send({ Target = m.From, Data = 'pong' }) end)
--
#Handlers.list
--
Handlers.list[#Handlers.list].name
--
Handlers.once('one', { Action = 'One' }, print)
--
Handlers.remove('ping')
--
#Handlers.list
--
Handlers.add('ping', Handlers.utils.hasMatchingTag('Action', 'Ping'), function() end)
--
#Handlers.list
--- runtime: a token
Balances = Balances or { me = 1000 }
--
function transfer(to, n) assert(Balances.me >= n, 'too little') Balances.me = Balances.me - n Balances[to] =
  (Balances[to] or 0) + n Send({ Target = to, Action = 'Credit-Notice', Quantity = tostring(n) }) end
--
transfer('a', 10) transfer('b', 20)
--
Balances
--
transfer('c', 1e6)
--
Balances
--
for i = 1, 50 do transfer('h' .. i, 1) end
--
Balances.me
--- runtime: libraries
json = require('json')
--
json.encode({ a = { 1, 2, { b = true } }, n = 1.5, s = 'q"' })
--
json.decode('{"a":[1,2,{"b":null}],"c":1e3}').c
--
require('.base64').encode('any carnal pleasure')
--
t = json.decode('[[1,[2]],"\\u00e4"]')
--
json.encode(t)
--
pcall(json.decode, '{bad')
--- objects walked in their order
set, list = {}, {} for i = 1, 40 do local o = { i } set[o] = i list[i] = o end
--
local r = {} for o, i in pairs(set) do r[#r + 1] = i .. o[1] end return table.concat(r, ' ')
--
for i = 1, 40, 3 do set[list[i]] = nil list[i] = nil end junk = {} for i = 1, 500 do junk[i] = { i } end
--
for i = 100, 120 do local o = { i } set[o] = i end junk = nil
--
local r, o, i = {}, next(set) while o do r[#r + 1] = i .. o[1] o, i = next(set, o) end return table.concat(r, ' ')
--
set[print], set[coroutine.create(print)], set[function() end] = 'p', 'c', 'f'
--
local r = {} for o, i in pairs(set) do r[#r + 1] = tostring(i) end return table.concat(r, ' ')
--
local r = {} for o, i in pairs(set) do r[#r + 1] = tostring(i) end return table.concat(r, ' ')
--- not a number
z = 0.0 n = z / z
--
return '' .. n, '' .. -n, '' .. n * 2, '' .. 1 / z - 1 / z
--
return (string.pack('>d', n):gsub('.', function(c) return ('%02x'):format(c:byte()) end))
--
m = string.unpack('>d', '\xff\xf8\0\0\0\0\0\1') return '' .. m, '' .. m + 1
--
return '' .. m % 2, '' .. n // 1, '' .. m ^ 2, tostring(m), n ~= n, '' .. math.sqrt(-1), '' .. math.fmod(1, z)
--
math.randomseed(z / z) return math.random(1000000)
--- a crowded place in a table
local function hash(text)
  local h = 42 ~ #text
  for at = #text, 1, -1 do h = (h ~ ((h << 5) + (h >> 2) + text:byte(at))) & 0xffffffff end
  return h
end
crowd, n = {}, 0
for i = 1, 4500 do
  if hash('k' .. i) & 63 == 7 then crowd['k' .. i] = i n = n + 1 end
end
return n > 40
--
crowd.more = 0
--
crowd.more = crowd.more + 1
--
local n = 0 for k, v in pairs(crowd) do n = n + v end return n
--
t = {} for k in pairs(crowd) do t[#t + 1] = k .. k end return #t
--
crowd = nil
--
return t[5], #t
