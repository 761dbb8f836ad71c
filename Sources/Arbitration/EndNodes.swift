import Messages

/// All end nodes, and what finds those that a decision is about without a look at the others. They change here alone, so that no
/// index can be forgotten.
struct EndNodes: Sendable, Triable {
  private var states = Map<String, EndNodeState>()
  private var former = Former<String, EndNodeState>()
  /// What the indexes say of each.
  private var places = Map<String, Place>()

  private var ofClass = Map<String, ClassOfEndNodes>()
  private var atHost = Map<String, OrderedSet<String>>()
  private var named = Map<String, OrderedSet<String>>()
  /// By host: those that serve as many hosts as they may, this one among them.
  private var closedButTo = Map<String, OrderedSet<String>>()
  /// By host: the device classes of which it can be given functions.
  private var servedClasses: [String: Set<String>] = [:]
  /// By host, where it is known.
  private var racks: [String: String] = [:]
  private(set) var multiRoot: Set<String> = []
  /// Those that are the function of a claim for a file server.
  private(set) var served: Set<String> = []
  /// Those that several hosts say that they have, each as its own.
  private(set) var conflicting: Set<String> = []
  /// Those whose health has changed since somebody asked last.
  private var flipped: Set<String> = []
  /// As long as it is the same, so are the capacities of all classes. It never goes back.
  private(set) var capacityRevision: UInt64 = 0

  subscript(id: String) -> EndNodeState? {
    get { states[id] }
    _modify {
      former.remember(id, states[id])
      let opening = states[id]?.opening
      defer { index(id, before: opening) }
      yield &states[id]
    }
  }

  var count: Int { states.count }
  var ids: [String] { states.keys.sorted() }
  var all: some Collection<EndNodeState> { states.values }
  var classes: some Sequence<String> { ofClass.keys }

  /// Those of a class that anybody can choose, in the order of their ids.
  func ids(ofClass deviceClass: String) -> OrderedSet<String> { ofClass[deviceClass]?.ids ?? OrderedSet() }

  /// What those of a class that anybody can choose have together, as far as they say it.
  func capacity(ofClass deviceClass: String) -> Amount { ofClass[deviceClass]?.capacity ?? Amount() }

  /// Those of a class that may have room for a function now: the least used first.
  func rooms(ofClass deviceClass: String) -> OrderedSet<Room> { ofClass[deviceClass]?.rooms ?? OrderedSet() }

  /// Those of a class that may have room for hosts that they serve already, and for no other one: the least used first.
  func closed(ofClass deviceClass: String) -> OrderedSet<Room> { ofClass[deviceClass]?.closed ?? OrderedSet() }

  /// Of all classes, in the order of their ids.
  func closed(butTo host: String) -> OrderedSet<String> { closedButTo[host] ?? OrderedSet() }

  /// Has another order, or that of racks, at hand from now on.
  mutating func keep(_ view: RoomView, ofClass deviceClass: String) {
    guard !view.isAlwaysKept, ofClass[deviceClass]?.views[view.kind] == nil else { return }
    ofClass[deviceClass]?.views[view.kind] = ClassOfEndNodes.View()
    for room in view.isClosed ? closed(ofClass: deviceClass) : rooms(ofClass: deviceClass) {
      ofClass[deviceClass]?.views[view.kind]?.move(from: nil, to: room, view.kind, rack: states[room.id]?.rack ?? "")
    }
  }

  /// The same in another order, or of one rack alone, which must be kept.
  func rooms(ofClass deviceClass: String, _ view: RoomView) -> OrderedSet<Room> {
    guard !view.isAlwaysKept else { return view.isClosed ? closed(ofClass: deviceClass) : rooms(ofClass: deviceClass) }
    return ofClass[deviceClass]?.views[view.kind]?.sets[view.rack ?? ""] ?? OrderedSet()
  }

  /// The place of the first path to a host's own end nodes that any of a class has functions for.
  func firstDirect(of paths: [Path], inClass deviceClass: String) -> Int? {
    guard let offered = ofClass[deviceClass]?.paths else { return nil }
    return paths.firstIndex { $0 != .mediated && offered[$0] != nil }
  }

  /// Whether functions of a class are parts of a size.
  func isOfDisks(_ deviceClass: String) -> Bool {
    ids(ofClass: deviceClass).first { _ in true }.flatMap { states[$0] }?.isBlockDevice ?? false
  }

  /// Those that a host is a root of, controls, is to control, or says that it has, in the order of their ids.
  func ids(atHost host: String) -> OrderedSet<String> { atHost[host] ?? OrderedSet() }

  /// Those that somebody may mean by a name, in the order of their ids.
  func ids(named name: String) -> OrderedSet<String> {
    var ids = named[name] ?? OrderedSet()
    if states[name] != nil { ids.insert(name) }
    return ids
  }

  /// Answers the ids of those whose health has changed, in order, and forgets that it has.
  mutating func takeFlipped() -> [String] {
    guard !flipped.isEmpty else { return [] }
    defer { flipped = [] }
    return flipped.sorted()
  }

  // MARK: What changes with every grant

  mutating func takeShare(_ function: String, _ share: Share, of id: String) {
    change(id) { $0.takeShare(function, share) }
  }

  mutating func freeShare(_ function: String, of id: String) {
    change(id) { $0.freeShare(function) }
  }

  /// Draws the next token of an end node: one above `highest`, which somebody may have seen, and above all before it.
  mutating func drawToken(above highest: UInt64, of id: String) -> FencingToken? {
    former.remember(id, states[id])
    return states.change(id) { state in
      _ = state.rememberToken(highest)
      return state.drawToken()
    }
  }

  /// What moves no end node to another class, name or host.
  private mutating func change(_ id: String, _ body: (inout EndNodeState) -> Void) {
    former.remember(id, states[id])
    // One access: to take a state out of the table is to copy it.
    let change = states.change(id) { state in
      let before = state.opening
      body(&state)
      return (before, state.opening, state.record.deviceClass, state.rack)
    }
    guard let (before, after, deviceClass, rack) = change else { return }
    if before != after { move(id, from: before, to: after, ofClass: deviceClass, rack: rack) }
  }

  private mutating func move(
    _ id: String, from before: Opening, to after: Opening, ofClass deviceClass: String, rack: String
  ) {
    _ = ofClass.change(deviceClass) { $0.move(from: before, to: after, rack: rack) }
    guard before.users != after.users else { return }
    for host in before.users.subtracting(after.users) { closedButTo.remove(id, from: host) }
    for host in after.users.subtracting(before.users) { closedButTo[host, default: OrderedSet()].insert(id) }
  }

  // MARK: Trials

  mutating func beginTrial() { former.begin() }

  mutating func endTrial(keeping: Bool) {
    // Indexes follow by themselves.
    for (id, state) in former.end(keeping: keeping) { self[id] = state }
  }

  // MARK: What changes with what hosts say

  /// Notes of which classes a host can be given functions, and where it stands.
  mutating func note(servedClasses classes: Set<String>, rack: String, of host: String) {
    guard servedClasses[host, default: []] != classes || racks[host, default: ""] != rack else { return }
    servedClasses[host] = classes.isEmpty ? nil : classes
    racks[host] = rack.isEmpty ? nil : rack
    for id in ids(atHost: host) { index(id, before: states[id]?.opening) }
  }

  private mutating func index(_ id: String, before opening: Opening?) {
    let (former, before) = (places[id], opening ?? Opening())
    guard let state = states[id] else {
      if let former { take(former, before, of: id) }
      places[id] = nil
      return
    }
    let isServed = servedClasses[state.controllingHost]?.contains(state.record.deviceClass) ?? false
    if state.isDriven != isServed { states[id]?.isDriven = isServed }
    let rack = racks[state.controllingHost] ?? ""
    if state.rack != rack { states[id]?.rack = rack }
    let place = Place(of: state, rack: rack)
    let now = states[id]?.opening ?? Opening()
    guard place != former else {
      if before != now { move(id, from: before, to: now, ofClass: place.deviceClass, rack: place.rack) }
      return
    }
    if let former { take(former, before, of: id) }
    if let former, former.isUnhealthy != place.isUnhealthy { flipped.insert(id) }
    put(place, now, of: id)
    places[id] = place
  }

  private mutating func put(_ place: Place, _ opening: Opening, of id: String) {
    for host in place.hosts { atHost[host, default: OrderedSet()].insert(id) }
    named[place.name, default: OrderedSet()].insert(id)
    if place.isMultiRoot { multiRoot.insert(id) }
    if place.isConflicting { conflicting.insert(id) }
    guard !place.isServed else {
      served.insert(id)
      return
    }
    capacityRevision += 1
    ofClass[place.deviceClass, default: ClassOfEndNodes()].put(id, place)
    move(id, from: Opening(), to: opening, ofClass: place.deviceClass, rack: place.rack)
  }

  private mutating func take(_ place: Place, _ opening: Opening, of id: String) {
    for host in place.hosts { atHost.remove(id, from: host) }
    named.remove(id, from: place.name)
    multiRoot.remove(id)
    conflicting.remove(id)
    served.remove(id)
    move(id, from: opening, to: Opening(), ofClass: place.deviceClass, rack: place.rack)
    guard !place.isServed else { return }
    capacityRevision += 1
    ofClass[place.deviceClass]?.take(id, place)
    if ofClass[place.deviceClass]?.ids.isEmpty ?? false { ofClass[place.deviceClass] = nil }
  }
}

/// How full an end node is that may have room for a function: the better one is lower.
struct Room: Comparable {
  var functionsInUse: Int
  var bytesInUse: UInt64
  /// Of a disk.
  var bytesLeft: UInt64
  /// Decides between equals.
  var id: String
  /// Whether the fullest is the better one. Between the two kinds nobody chooses.
  var isPacked = false

  static func < (one: Room, other: Room) -> Bool {
    guard one.isPacked == other.isPacked else { return other.isPacked }
    guard one.isPacked else {
      return (one.functionsInUse, one.bytesInUse, one.id) < (other.functionsInUse, other.bytesInUse, other.id)
    }
    return (one.bytesLeft, other.functionsInUse, one.id) < (other.bytesLeft, one.functionsInUse, other.id)
  }

  func packed(_ isPacked: Bool) -> Room {
    var room = self
    room.isPacked = isPacked
    return room
  }
}

/// To whom an end node may give a function now.
struct Opening: Equatable {
  /// Nil: to nobody.
  var room: Room?
  /// Where it serves as many hosts as it may: to these alone. Empty: to any.
  var users: Set<String> = []

  /// Nil if it is not of those that are open to their users alone, or of those that are open to any.
  func room(isClosed: Bool) -> Room? { users.isEmpty == isClosed ? nil : room }
}

/// An order of end nodes that may have room.
struct RoomView: Hashable {
  var isPacked = false
  /// Those of this rack alone; nil: all.
  var rack: String?
  /// Those that are open to hosts that they serve already; false: those that are open to any.
  var isClosed = false

  fileprivate var kind: Kind { Kind(isPacked: isPacked, isByRack: rack != nil, isClosed: isClosed) }
  fileprivate var isAlwaysKept: Bool { !isPacked && rack == nil }

  /// Those that are kept together.
  fileprivate struct Kind: Hashable {
    var isPacked: Bool
    var isByRack: Bool
    var isClosed: Bool
  }
}

/// The end nodes of one class.
private struct ClassOfEndNodes {
  /// By rack, or under no name.
  struct View {
    private(set) var sets = Map<String, OrderedSet<Room>>()

    mutating func move(from before: Room?, to after: Room?, _ kind: RoomView.Kind, rack: String) {
      // Where nobody knows the rack, nothing is in it.
      guard !kind.isByRack || !rack.isEmpty else { return }
      let key = kind.isByRack ? rack : ""
      if let before { sets.remove(before.packed(kind.isPacked), from: key) }
      if let after { sets[key, default: OrderedSet()].insert(after.packed(kind.isPacked)) }
    }
  }

  private(set) var ids = OrderedSet<String>()
  /// How many have functions for each.
  private(set) var paths: [Path: Int] = [:]
  private(set) var capacity = Amount()
  private(set) var rooms = OrderedSet<Room>()
  /// Those of end nodes that are open to hosts that they serve already.
  private(set) var closed = OrderedSet<Room>()
  var views: [RoomView.Kind: View] = [:]

  mutating func put(_ id: String, _ place: Place) {
    ids.insert(id)
    capacity.add(place.capacity)
    for path in place.paths { self.paths[path, default: 0] += 1 }
  }

  mutating func take(_ id: String, _ place: Place) {
    ids.remove(id)
    capacity.subtract(place.capacity)
    for path in place.paths {
      let left = (self.paths[path] ?? 0) - 1
      self.paths[path] = left > 0 ? left : nil
    }
  }

  mutating func move(from before: Opening, to after: Opening, rack: String) {
    if let room = before.room(isClosed: false) { rooms.remove(room) }
    if let room = after.room(isClosed: false) { rooms.insert(room) }
    if let room = before.room(isClosed: true) { closed.remove(room) }
    if let room = after.room(isClosed: true) { closed.insert(room) }
    for kind in Array(views.keys) {
      let (before, after) = (before.room(isClosed: kind.isClosed), after.room(isClosed: kind.isClosed))
      views[kind]?.move(from: before, to: after, kind, rack: rack)
    }
  }
}

/// Where the indexes have an end node, but for its room.
private struct Place: Equatable {
  var deviceClass: String
  var name: String
  var hosts: Set<String>
  var isMultiRoot: Bool
  var isServed: Bool
  var isConflicting: Bool
  var isUnhealthy: Bool
  var rack: String
  var paths: Set<Path>
  var capacity: Amount

  init(of state: EndNodeState, rack: String) {
    self.rack = rack
    deviceClass = state.record.deviceClass
    name = state.record.name
    hosts = Set(state.record.roots.map(\.host)).union(state.conflicting.keys).union([state.controllingHost])
    if let transfer = state.record.controlTransfer { hosts.insert(transfer.host) }
    isMultiRoot = state.isMultiRoot
    isServed = state.isServed
    isConflicting = !state.conflicting.isEmpty
    isUnhealthy = state.isUnhealthy
    paths = Set(state.record.capabilities?.paths ?? [])
    let limits = state.record.capacity ?? Capacity()
    capacity = Amount(
      functions: Int(limits.functions),
      rates: MinimumRates(
        bitsPerSecond: limits.bitsPerSecond, operationsPerSecond: limits.operationsPerSecond,
        bytesPerSecond: limits.bytesPerSecond))
  }
}

extension EndNodeState {
  var opening: Opening {
    // A root that does not control it may have the whole of it.
    guard hasFreeFunction, isDriven || isMultiRoot, !isServed, record.cordon == nil, !flapping.isHeld,
      !isUnhealthy
    else { return Opening() }
    guard isOutOfHosts else { return Opening(room: score) }
    let users = Set(users)
    return users.isEmpty ? Opening() : Opening(room: score, users: users)
  }

  var score: Room {
    let size = sizeBytes
    return Room(
      functionsInUse: shares.count, bytesInUse: usedSizeBytes, bytesLeft: size - min(size, usedSizeBytes), id: record.id
    )
  }
}

extension Map where Key == String {
  fileprivate mutating func remove<Element>(_ element: Element, from key: String) where Value == OrderedSet<Element> {
    self[key]?.remove(element)
    if self[key]?.isEmpty ?? false { self[key] = nil }
  }
}
