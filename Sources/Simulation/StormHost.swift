import Arbitration
import Messages

/// A host in a storm: what of it survives what is kept apart.
///
/// The agent obeys (tokens, epochs, nothing torn down without a release), and reports with delay. The device side
/// remembers released tokens for ever; the kernel's objects end with the boot; extents on a disk do not.
struct StormHost {
  struct Function: Hashable {
    var assignment: Assignment
    var role: Role
    /// Attached, served or connected; else only there (an extent after a reboot).
    var isInUse: Bool

    var id: String { assignment.function }
    var promisedBitsPerSecond: UInt64 { assignment.attributes?.ethernet?.minTransmitBitsPerSecond ?? 0 }
    /// Nil where the function's own device carries the frames.
    var vni: UInt32? { assignment.mediation.map(\.vni).flatMap { $0 == 0 ? nil : $0 } }
    var queues: UInt32 { assignment.attributes?.ethernet?.queues ?? 0 }
    var key: String { WantedFunction.recordName(role, id, assignment.token) }

    func isConnected(to server: Function) -> Bool {
      var (mine, theirs) = (assignment.mediation, server.assignment.mediation)
      mine?.serverPort = 0
      theirs?.serverPort = 0
      return role == .consumer && isInUse && id == server.id && mine == theirs
    }
  }

  let name: String
  let address: String
  var plugins: [Plugin]
  var endNodes: [EndNode] { didSet { hasChanged = true } }
  var watchdogMilliseconds: UInt32 = 0
  var labels: [String: String] = [:]

  // On the disk.
  var highestEpoch: UInt64 = 0
  var spent: [String: UInt64] = [:]
  var highestTokens: [String: UInt64] = [:]
  /// Of the device that several hosts see.
  var controlsInForce: [String: UInt64] = [:] { didSet { hasChanged = true } }
  var extents: [String: Extent] = [:] { didSet { hasChanged = true } }
  /// Functions that it has, or had and has not let go of, for a file server.
  var sources: Set<String> = []
  /// Functions that are no more on their device, since the last look.
  var destroyed: Set<String> = [] { didSet { hasChanged = true } }

  // In the kernel.
  var bootNumber = 1
  var isUp = true { didSet { hasChanged = true } }
  var functions: [String: Function] = [:] { didSet { hasChanged = true } }
  var clock = StormClock()

  // In the agent.
  var session: SessionID?
  /// Before the welcome an agent says nothing but its hello.
  var welcomedSession: SessionID?
  var epoch: UInt64 = 0
  var wanted: [String: WantedFunction] = [:]
  var wantedControls: [String: WantedControl] = [:]
  var hasWantedState = false
  var hasReportedAll = false
  var revision: UInt64 = 0
  var reported: [String: FunctionStatus] = [:]
  var selfFenced: Set<String> = []
  /// Zero: this run of the host has had none, and its watchdog is not armed.
  var leaseEnds: UInt64 = 0
  var helloSent: UInt64 = 0
  var heartbeatsSent: [UInt64: UInt64] = [:]
  /// By what was wanted: the higher token under which the shared device is held.
  var refusals: [String: UInt64] = [:]
  /// What was wanted and found no room.
  var crowdedOut: Set<String> = [] { didSet { hasChanged = true } }

  // Faults of harsh storms.
  /// What was wanted and will never be set up, by record name.
  var failedForGood: Set<String> = []
  /// What is wrong with functions that are in use, by record name.
  var ailments: [String: String] = [:]
  /// What was wanted is kept: by the agent while it runs, and by its journal.
  var remembers = false
  /// A lease came, and what is wanted under it has yet to.
  var hasOldWords = false
  /// The agent stands still.
  var isPaused = false
  /// By class.
  var failedPlugins: Set<String> = []
  var pausedPlugins: Set<String> = []
  /// End nodes that are gone, and that answer no more.
  var goneEndNodes: Set<String> = []
  var hungEndNodes: Set<String> = []
  var isStalledToHost = false
  var isStalledToCoordinator = false
  /// On this host's clock: when what is late arrives.
  var stalledUntil = UInt64.max

  /// Whether anything that can be seen at the devices is different since the last look.
  var hasChanged = true

  // The network: whether there is any, and what is under way in this session.
  var isCutOff = false
  var toHost: [CoordinatorMessage] = []
  var toCoordinator: [Event] = []

  var bootID: String { "\(name)-boot-\(bootNumber)" }

  // MARK: Failures

  mutating func crash() {
    isUp = false
    bootNumber += 1
    leaseEnds = 0
    functions = functions.filter { $0.value.role != .consumer && $0.value.assignment.deviceClass == "sata" }
    for key in functions.keys { functions[key]?.isInUse = false }
    endAgent()
  }

  /// Functions stay; what the agent knew is gone but for its files.
  mutating func endAgent() {
    dropSession()
    wanted = remembers ? wanted.filter { $0.value.released || isUp } : [:]
    wantedControls = [:]
    isPaused = false
    failedPlugins = []
    pausedPlugins = []
  }

  /// The agent stays, where it is one that remembers.
  mutating func loseConnection() {
    if remembers { dropSession() } else { endAgent() }
  }

  private mutating func dropSession() {
    session = nil
    welcomedSession = nil
    reported = [:]
    heartbeatsSent = [:]
    refusals = [:]
    crowdedOut = []
    hasWantedState = false
    toHost = []
    toCoordinator = []
  }

  // MARK: The session

  mutating func connect(_ session: SessionID, at now: UInt64) {
    loseConnection()
    isUp = true
    isCutOff = false
    self.session = session
    hasReportedAll = false
    helloSent = now
    var host = Host()
    host.name = name
    host.instanceId = "instance-of-\(name)"
    host.bootId = bootID
    host.mediationAddress = address
    host.mediationMtu = 1500
    host.watchdogMilliseconds = watchdogMilliseconds
    host.labels = labels
    let hello = AgentHello {
      $0.host = host
      $0.highestEpoch = highestEpoch
    }
    toCoordinator.append(.hostConnected(session, hello))
  }

  var inventory: InventoryReport {
    InventoryReport {
      $0.plugins = plugins.map { plugin in
        var plugin = plugin
        if failedPlugins.contains(plugin.deviceClass) { plugin.state = .failed }
        return plugin
      }
      let found = (endNodes + servedEndNodes).filter {
        !goneEndNodes.contains($0.id) && !failedPlugins.contains($0.deviceClass)
      }
      $0.endNodes = found.map { node in
        var node = node
        if hungEndNodes.contains(node.id) { node.health = Health { $0.state = .unhealthy } }
        node.highestToken = FencingToken { $0.value = highestTokens[node.id] ?? 0 }
        if let control = controlsInForce[node.id] {
          node.physicalFunction = PhysicalFunction { $0.controlToken = FencingToken { $0.value = control } }
        }
        return node
      }
    }
  }

  mutating func sendHeartbeat(at now: UInt64) {
    guard let session = welcomedSession, !isPaused else { return }
    heartbeatsSent[now] = now
    let heartbeat = Heartbeat {
      $0.sequence = now
      $0.watchdogMilliseconds = watchdogMilliseconds
    }
    toCoordinator.append(.heartbeatReceived(session, heartbeat))
  }

  mutating func take(_ message: CoordinatorMessage) {
    switch message.kind {
    case .rescan, .statistics, nil: return
    case .welcome:
      hasOldWords = true
      leaseEnds = max(leaseEnds, helloSent + 10_000)
      welcomedSession = session
      if let session { toCoordinator.append(.inventoryReported(session, inventory)) }
    case .heartbeat(let answer):
      if let sent = heartbeatsSent.removeValue(forKey: answer.sequence) { leaseEnds = max(leaseEnds, sent + 10_000) }
    case .wanted(let state): take(state)
    }
  }

  private mutating func take(_ state: WantedState) {
    guard state.epoch >= highestEpoch else { return }
    epoch = state.epoch
    highestEpoch = state.epoch
    revision = state.revision
    hasWantedState = true
    if state.complete { (wanted, wantedControls, hasOldWords) = ([:], [:], false) }
    for control in state.controls { wantedControls[control.endNode] = control }
    for entry in state.functions {
      if wanted[entry.recordName]?.released == true, !entry.released { continue }
      wanted[entry.recordName] = entry
      // What is set up needs the device, and whoever is cut off is kept out.
      if !entry.released || entry.role == .fencer, let id = entry.assignment?.endNode {
        wantedControls[id]?.unused = false
      }
    }
  }

  // MARK: Work

  /// One step of one function: set up, cut, or clean.
  mutating func work(at now: UInt64, _ device: inout SharedDevice, _ dice: inout Dice) {
    takeControls(at: now, &device)
    settleFunctionCounts(at: now)
    let open = openEntries
    guard isUp, let entry = open.randomElement(using: &dice) else { return }
    let served = servedEndNodes
    step(entry, at: now, &device)
    tellServed(since: served)
  }

  /// Answers whether there was anything to do.
  mutating func workAll(at now: UInt64, _ device: inout SharedDevice) -> Bool {
    guard isUp else { return false }
    takeControls(at: now, &device)
    settleFunctionCounts(at: now)
    let open = openEntries
    let served = servedEndNodes
    for entry in open { step(entry, at: now, &device) }
    tellServed(since: served)
    return !open.isEmpty
  }

  private var openEntries: [WantedFunction] {
    wanted.values.filter { !isFulfilled($0) && canStep($0) }.sorted { $0.recordName < $1.recordName }
  }

  private func isFulfilled(_ entry: WantedFunction) -> Bool {
    // By another token the same function is another one's.
    if entry.released { return functions[entry.recordName] == nil && isSpent(entry) }
    return isSpent(entry) || functions[entry.recordName]?.isInUse == true
  }

  func isSpent(_ entry: WantedFunction) -> Bool {
    (spent[entry.recordName] ?? 0) >= (entry.assignment?.token?.value ?? 0)
  }

  private mutating func step(_ entry: WantedFunction, at now: UInt64, _ device: inout SharedDevice) {
    guard let assignment = entry.assignment, let token = assignment.token?.value else { return }
    // A function is not given on: what has it under another token, or for another claim, lets go first.
    let hasRival = functions.values.contains {
      guard $0.id == assignment.function, ($0.role == .consumer) == (entry.role == .consumer) else { return false }
      return ($0.role == entry.role && $0.key != entry.recordName) || $0.assignment.claimUid != assignment.claimUid
    }
    guard entry.released || !hasRival, canReach(entry) else { return }
    defer { noteSource(entry) }
    if assignment.endNode == sharedID, entry.role != .consumer {
      return stepOnShared(entry, assignment, at: now, &device)
    }
    if entry.released {
      spent[entry.recordName] = max(spent[entry.recordName] ?? 0, token)
      functions[entry.recordName] = nil
    } else if now < leaseEnds, !isSpent(entry), !failedForGood.contains(entry.recordName) {
      guard hasRoom(for: entry, assignment) else { return _ = crowdedOut.insert(entry.recordName) }
      crowdedOut.remove(entry.recordName)
      // What its consumer sees is this one's from now on.
      functions = functions.filter { $0.value.role != entry.role || $0.value.id != assignment.takesOver }
      functions[entry.recordName] = Function(assignment: assignment, role: entry.role, isInUse: true)
    }
    highestTokens[assignment.endNode] = max(highestTokens[assignment.endNode] ?? 0, token)
  }

  /// No device gives more than it has, whatever is wanted of it.
  private func hasRoom(for entry: WantedFunction, _ assignment: Assignment) -> Bool {
    guard entry.role != .consumer, functions[entry.recordName] == nil,
      let node = (endNodes + servedEndNodes).first(where: { $0.id == assignment.endNode }), let capacity = node.capacity
    else { return true }
    guard assignment.path != .direct || node.deviceClass != "ethernet" || hasOwnFunctionLeft(node) else { return false }
    let others = functions.values.filter { $0.assignment.endNode == node.id && $0.role != .consumer }
    let used = others.reduce(0) { $0 + $1.assignment.sizeBytes }
    return (capacity.functions == 0 || others.count < Int(capacity.functions))
      && (capacity.sizeBytes == 0 || used + assignment.sizeBytes <= capacity.sizeBytes)
  }

  /// Its own clock says that the lease is over: what asked for it is cut for ever.
  /// Answers whether there was anything to cut.
  mutating func fenceItself(at now: UInt64) -> Bool {
    guard isUp, now >= leaseEnds, !isPaused else { return false }
    var hasCut = false
    for (key, function) in functions
    where function.isInUse && function.assignment.lossPolicy == .selfFence && function.role != .server
      && canStep(function)
    {
      hasCut = true
      spent[key] = function.assignment.token?.value
      functions[key]?.isInUse = false
      if function.role == .consumer { functions[key] = nil }
      selfFenced.insert(key)
    }
    return hasCut
  }

  // MARK: Reports

  mutating func report() {
    guard let session, hasWantedState, !isPaused else { return }
    let statuses = Set(wanted.keys).union(functions.keys).sorted().map { status(of: $0) }
    var changed: [FunctionStatus] = []
    for status in statuses where !hasReportedAll || reported[status.recordName] != status {
      reported[status.recordName] = status
      changed.append(status)
    }
    guard !hasReportedAll || !changed.isEmpty else { return }
    let report = FunctionReport {
      $0.epoch = epoch
      $0.revision = revision
      $0.bootId = bootID
      $0.complete = !hasReportedAll
      $0.functions = changed
    }
    hasReportedAll = true
    toCoordinator.append(.functionsReported(session, report))
  }

  private func status(of key: String) -> FunctionStatus {
    let entry = wanted[key]
    let function = functions[key]
    let assignment = entry?.assignment ?? function?.assignment ?? Assignment()
    var status = FunctionStatus()
    status.function = VirtualFunction {
      $0.id = assignment.function
      $0.endNode = assignment.endNode
      $0.deviceClass = assignment.deviceClass
      $0.token = assignment.token
      if assignment.endNode == sharedID, function != nil { $0.extent = extents[assignment.function] }
    }
    status.role = entry?.role ?? function?.role ?? .unspecified
    status.revision = entry?.revision ?? 0
    switch (function, entry) {
    case (let function?, _): status.phase = function.isInUse ? .inUse : .created
    case (nil, let entry?) where entry.released && isFulfilled(entry): status.phase = .absent
    default: status.phase = .unspecified
    }
    if isOutOfReach(assignment, status.role) {
      status.phase = .unspecified
      status.error = FunctionError {
        $0.step = "observe"
        $0.message = "its device is gone"
      }
    }
    if status.phase == .inUse, let message = ailments[key] {
      status.health = Health {
        $0.state = .unhealthy
        $0.message = message
      }
    }
    // What is wanted is known to whoever wants it, but for who has it.
    let isAnothers = function.map { $0.assignment.claimUid != entry?.assignment?.claimUid } ?? false
    if isAnothers { status.assignment = function?.assignment }
    if entry == nil, spent[key] ?? 0 >= assignment.token?.value ?? .max {
      status.error = FunctionError {
        $0.step = "observe"
        $0.message = "its token is spent"
        $0.highestToken = assignment.token
      }
    }
    if status.phase == .inUse, status.role == .server, assignment.mediation?.mediator == "nbd" {
      status.serverPort = 10_809
    }
    if let refused = refusals[key], let entry, !entry.released, function?.isInUse != true, !isSpent(entry) {
      status.error = FunctionError {
        $0.step = "attach"
        $0.message = "the disk is held under a higher token"
        $0.highestToken = FencingToken { $0.value = refused }
      }
    }
    if crowdedOut.contains(key), function == nil, entry?.released == false {
      status.error = FunctionError {
        $0.step = "create"
        $0.message = "the device has no room for it"
      }
    }
    if failedForGood.contains(key), function == nil, entry?.released == false {
      status.error = FunctionError {
        $0.step = "create"
        $0.message = "there is no such VLAN"
        $0.permanent = true
      }
    }
    if let entry, !entry.released, isSpent(entry) {
      status.error = FunctionError {
        $0.step = selfFenced.contains(key) ? "self-fence" : "create"
        $0.message = "stale token"
        $0.highestToken = entry.assignment?.token
      }
    }
    return status
  }
}
