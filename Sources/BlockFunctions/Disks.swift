import FunctionPluginKit
import Glibc
import LinuxDevices
import Logging
import Services
import Synchronization

/// The disks of this host's configuration and who has which part of them.
///
/// Its methods block; one at a time changes the tables.
final class Disks<Class: DiskClass>: Sendable {
  private let configuration: BlockConfiguration<Class>
  private let diskClass: Class
  private let hostName: String
  private let directory: String
  /// What is being cleaned, and what could not be.
  let scrubs: ScrubJournal
  /// Loaded when first needed; a table on disk is never newer than the one here.
  private let tables = Mutex<[String: ExtentTable]>([:])
  /// By end node: what did not agree when it was looked at last; empty: all did.
  private let disagreements = Mutex<[String: [String]]>([:])
  /// What the coordinator told this host of its functions.
  private let told: @Sendable () -> [FunctionRequest]
  /// How many functions a disk's drive is to make, as an operator said; nil: as the configuration says.
  private let orderedFunctions: @Sendable (_ endNode: String) -> UInt32?
  /// What is attached here for file servers, all of it or one function.
  private let served = Mutex<@Sendable (String?) -> [ServedDisk]>({ _ in [] })

  init(configuration: BlockConfiguration<Class>, context: PluginContext) throws {
    self.configuration = configuration
    diskClass = try Class(context: context)
    hostName = context.hostName
    directory = context.stateDirectory
    told = { context.knownFunctions }
    orderedFunctions = context.functionCount
    scrubs = ScrubJournal(stateDirectory: context.stateDirectory)
  }

  /// One configured disk that is there.
  private struct Disk {
    var endNode: String
    var description: DiskDescription
    var selection: DiskSelection
    /// Another end node that has some of the same bytes: the disk of this partition, or a partition of this disk.
    var overlapped: String?
    /// Nil: it is a disk.
    var served: ServedDisk?
    /// How many functions an operator wants its drive to make; nil: nobody has said so.
    var orderedFunctions: UInt32?
    /// Another end node is of the same drive, which makes functions for both.
    var sharesFunctions = false

    var path: String { description.device }
    var facts: BlockFacts { description.facts }
    var isCountSettable: Bool { description.functionMaker != nil && !sharesFunctions }
    /// Of its drive. An operator's word goes before the configuration. With two end nodes it would be two words about one
    /// number.
    var wantedFunctions: UInt32? { (sharesFunctions ? nil : orderedFunctions) ?? selection.virtualFunctions }
    var functionLimit: UInt32 { selection.functionLimit ?? Class.defaultFunctionLimit }
    /// The coordinator, which knows who uses what, keeps it.
    var hostLimit: UInt32 { selection.hostLimit ?? Class.defaultHostLimit }
  }

  func rescan() throws {
    diskClass.rescan()
    disagreements.withLock { $0 = [:] }
    try settleFunctions()
  }

  /// As many virtual functions of drives as are wanted.
  func settleFunctions() throws {
    guard Class.countsFunctions else { return }
    for disk in try present() {
      // Of a drive with several end nodes another one may say how many.
      guard disk.wantedFunctions != nil || disk.isCountSettable else { continue }
      diskClass.settleFunctions(of: disk.description, wanted: disk.wantedFunctions)
    }
  }

  /// What the class has said of another number than is wanted by now is no answer: it has yet to be told.
  private func functionCount(of disk: Disk) -> FunctionCount? {
    guard var count = disk.description.physicalFunction.functionCount, Class.countsFunctions else {
      return disk.description.physicalFunction.functionCount
    }
    count.settable = disk.isCountSettable
    count.ordered = disk.orderedFunctions
    let isItsOwn = disk.isCountSettable || disk.orderedFunctions != nil && !disk.sharesFunctions
    if isItsOwn, count.wanted != disk.wantedFunctions {
      (count.wanted, count.held, count.message) = (disk.wantedFunctions, [], "")
    }
    return count
  }

  /// Whether all agree on which part of the disk is whose: before the first function of a disk is touched, and after that for as
  /// long as they do not. What is in use stays, and can be cut; nothing else is done with a disk of which two things are said.
  func checkGeometry(of plan: FunctionPlan) throws {
    let disk = try disk(plan.endNode)
    if let table = try table(of: disk), let extent = table.map[plan.function] {
      try table.check(extent, against: plan.place)
    }
    try checkGeometry(of: disk)
  }

  private func lookForDisagreements(_ disk: Disk) throws -> [String] {
    // Nobody has a whole disk of which this host has no device, and its function is its only one.
    let uses =
      disk.description.isAway ? [] : DiskUse.all(of: disk.path).filter { !servedPlaces(of: disk).contains($0.place) }
    let requests = told().filter { $0.assignment?.endNode == disk.endNode }
    return GeometryCheck(map: try table(of: disk)?.map).disagreements(uses: uses, told: requests)
  }

  /// At the start, so that an operator hears of it before somebody needs the disk.
  func checkAll(_ logger: Logger) throws {
    for disk in try present() {
      do {
        try checkGeometry(of: disk)
      } catch {
        logger.error("an end node is stopped", metadata: ["endNode": "\(disk.endNode)", "error": "\(error)"])
      }
    }
  }

  private func checkGeometry(of disk: Disk) throws {
    if disagreements.withLock({ $0[disk.endNode] })?.isEmpty == true { return }
    // What is found while a function comes or goes is not there at the second look.
    let found = try lookForDisagreements(disk).isEmpty ? [] : lookForDisagreements(disk)
    disagreements.withLock { $0[disk.endNode] = found }
    guard found.isEmpty else {
      throw PluginError(
        .dataLoss,
        "It is not certain which part of \(disk.endNode) is whose: \(found.joined(separator: "; ")). Nothing of it is given out, "
          + "cleaned or forgotten until this is settled: end what should not be there, or restore the table "
          + "(\(ExtentTable.path(directory, disk.endNode))) from a backup; then rescan the host.")
    }
  }

  func endNodes() throws -> [EndNode] { try present().map { try endNode($0) } }

  /// Whether an end node's disk is there now.
  func contains(_ endNode: String) throws -> Bool { try find(endNode) != nil }

  /// The disk of an end node.
  func description(of endNode: String) throws -> DiskDescription { try disk(endNode).description }

  /// Nil: nobody else can reach the disk, or it is what a claim holds.
  func keeper(of disk: DiskDescription) throws -> (any DiskKeeper)? {
    disk.isMultiRoot ? try diskClass.keeper(of: disk) : nil
  }

  func pull(_ disk: DiskDescription) throws -> DiskDescription { try diskClass.pull(disk) }

  func give(_ disk: DiskDescription, to function: String) throws -> PCIAddress {
    try diskClass.give(disk, to: function)
  }

  func given(_ disk: DiskDescription, to function: String) throws -> PCIAddress? {
    try diskClass.given(disk, to: function)
  }

  func takeBack(_ disk: DiskDescription, from function: String) throws {
    try diskClass.takeBack(disk, from: function)
  }

  func sanitize(_ disk: DiskDescription) throws { try diskClass.sanitize(disk) }

  /// How what the function's user left is taken off. Parts are not: what erases a whole disk would erase their neighbours.
  func scrubMethod(of plan: FunctionPlan) throws -> ScrubMethod {
    let selection = try disk(plan.endNode).selection
    if selection.acceptedUnscrubbed.contains(plan.function) { return .none }
    return selection.scrub == .sanitize && !plan.isWhole ? .zero : selection.scrub
  }

  func scrubBytesPerSecond(of endNode: String) throws -> UInt64? { try disk(endNode).selection.scrubBytesPerSecond }

  func extent(of function: String, endNode: String) throws -> AllocatedExtent? {
    try table(of: try disk(endNode))?.map[function]
  }

  /// All functions that have an extent, with their end nodes.
  func extents() throws -> [(endNode: String, extent: AllocatedExtent)] {
    // What a damaged table says of others is nothing, and is told where its disk is.
    try present().flatMap { disk in ((try? table(of: disk))?.map.extents ?? []).map { (disk.endNode, $0) } }
  }

  /// What keeps a function from being created; empty if nothing.
  func problems(with plan: FunctionPlan) throws -> [String] {
    let disk = try disk(plan.endNode)
    var problems: [String] = []
    do { try plan.checkSize() } catch { problems.append(error.message) }
    do { try Self.checkCleanable(plan, disk) } catch { problems.append(error.message) }
    if let obstacle = try obstacle(disk, isOurs: table(of: disk) != nil) { problems.append(obstacle) }
    let map = try table(of: disk)?.map ?? ExtentMap(diskSizeBytes: disk.facts.sizeBytes)
    if map[plan.function] == nil {
      if map.extents.count >= disk.functionLimit { problems.append(limitReached(disk)) }
      if map.largestFreeBytes < plan.sizeBytes {
        problems.append(
          "\(disk.endNode) has no gap of \(plan.sizeBytes) bytes; the largest is \(map.largestFreeBytes).")
      }
    }
    return problems
  }

  func allocate(_ plan: FunctionPlan) throws -> AllocatedExtent {
    try plan.checkSize()
    let disk = try disk(plan.endNode)
    try Self.checkCleanable(plan, disk)
    try checkGeometry(of: disk)
    let others = told().filter { $0.assignment?.endNode == plan.endNode && $0.assignment?.function != plan.function }
    return try tables.withLock { tables in
      var table = try loadedTable(disk, &tables) ?? takeIntoUse(disk)
      if table.map[plan.function] == nil, table.map.extents.count >= disk.functionLimit {
        throw PluginError(.resourceExhausted, limitReached(disk))
      }
      let extent = try table.allocate(
        function: plan.function, sizeBytes: plan.sizeBytes, place: plan.place,
        besides: others.compactMap(\.assignment?.extent))
      tables[disk.endNode] = table
      return extent
    }
  }

  private static func checkCleanable(_ plan: FunctionPlan, _ disk: Disk) throws(PluginError) {
    guard disk.selection.scrub == .sanitize, !plan.isWhole else { return }
    throw PluginError(
      .failedPrecondition,
      "\(disk.endNode) is cleaned by erasing itself (scrub: sanitize), so that it is given away as a whole alone: claim it without a "
        + "size, or set scrub: zero.")
  }

  func release(_ plan: FunctionPlan) throws {
    let disk = try disk(plan.endNode)
    if try table(of: disk)?.map[plan.function] != nil { try checkGeometry(of: disk) }
    try tables.withLock { tables in
      guard var table = try loadedTable(disk, &tables) else { return }
      try table.release(function: plan.function)
      tables[disk.endNode] = table
    }
    try scrubs.remove(plan.function)
  }

  func isUnused(_ endNode: String) throws -> Bool {
    try table(of: disk(endNode))?.map.extents.isEmpty ?? true
  }

  /// A disk without a table is somebody's until the operator or its emptiness says otherwise.
  private func takeIntoUse(_ disk: Disk) throws -> ExtentTable {
    if let obstacle = try obstacle(disk, isOurs: false) { throw PluginError(.failedPrecondition, obstacle) }
    if disk.served != nil, let user = try Self.user(of: disk.path) {
      throw PluginError(
        .failedPrecondition, "\(user) has \(disk.path) open, which is to be served in parts: end that first.")
    }
    return ExtentTable.first(
      directory: directory, endNode: disk.endNode, diskSizeBytes: disk.facts.sizeBytes)
  }

  /// Daemons of functions are found by what they serve, and left out here: one whose loop device was taken from it may have this
  /// one's number open.
  private static func user(of device: String) throws -> DeviceUser? {
    guard try DeviceUser.find(of: device, besides: StorageDaemon.program) != nil else { return nil }
    // A program that is being started has all that this one has open, for a moment.
    usleep(50_000)
    return try DeviceUser.find(of: device, besides: StorageDaemon.program)
  }

  /// Why functions of this disk cannot be made. A disk with a table is ours, and what it carries are tenants' data.
  private func obstacle(_ disk: Disk, isOurs: Bool) throws -> String? {
    // There is nothing here that could be looked at; it went from here as ours.
    if disk.description.isAway { return nil }
    if let other = disk.overlapped {
      return "\(disk.path) and \(other) are end nodes, and one is a part of the other: leave one of them out."
    }
    try checkGeometry(of: disk)
    if try BlockDevice.isClaimedByKernel(disk.path) {
      return "\(disk.path) is mounted, or part of an array or of swap space: take it out of use first."
    }
    if disk.facts.isReadOnly { return "\(disk.path) is read-only." }
    if let lack = Self.scrubLack(disk) { return lack }
    if isOurs || disk.selection.acceptsExistingData { return nil }
    // Another host of the cluster has it: what it carries is a tenant's, and cannot be read here.
    if disk.description.isMultiRoot, try keeper(of: disk.description)?.highestToken() != nil { return nil }
    guard let signature = try DiskSignature.find(on: disk.path) else { return nil }
    if let served = disk.served {
      return
        "\(served.name) carries data (\(signature)), and is to be served in parts. If it may be lost: wipefs --all \(served.name)"
    }
    return
      "\(disk.path) carries data (\(signature)). If it may be lost, set acceptExistingData: true for this end node."
  }

  /// Why the disk cannot be cleaned as its configuration says: better known before a tenant's data is on it.
  private static func scrubLack(_ disk: Disk) -> String? {
    switch disk.selection.scrub {
    case .zero, .none: nil
    case .discard:
      BlockDevice.takesDiscard(disk.path)
        ? nil : "\(disk.path) takes no discard (queue/discard_max_bytes is 0): set scrub: zero for this end node."
    case .sanitize:
      disk.description.sanitizes
        ? nil
        : "\(disk.path) cannot be told to erase itself, or would erase others with it: set scrub: zero for this end node."
    }
  }

  /// A disk that cannot be looked at keeps nobody from knowing of the others.
  private func obstacleOrFailure(_ disk: Disk, isOurs: Bool) -> String? {
    do { return try obstacle(disk, isOurs: isOurs) } catch { return "\(error)" }
  }

  private func limitReached(_ disk: Disk) -> String {
    "\(disk.endNode) has as many functions as its configuration allows (\(disk.functionLimit))."
  }

  private func endNode(_ disk: Disk) throws -> EndNode {
    // A table that is damaged stops its disk, and no other.
    let map = (try? table(of: disk))?.map
    let obstacle = obstacleOrFailure(disk, isOurs: map != nil)
    return EndNode {
      $0.id = disk.endNode
      $0.deviceClass = Class.name
      $0.name = "\(hostName)/\(disk.path.split(separator: "/").last ?? "")"
      $0.labels = disk.description.labels.merging(disk.selection.labels) { _, configured in configured }
      $0.roots = [
        Root {
          $0.host = hostName
          $0.localName = disk.path
          $0.numaNode = disk.description.numaNode
        }
      ]
      $0.physicalFunction = disk.description.physicalFunction
      $0.physicalFunction?.controllingHost = hostName
      $0.physicalFunction?.functionCount = functionCount(of: disk)
      $0.capacity = Capacity {
        $0.functions = disk.functionLimit
        $0.hosts = disk.hostLimit
        $0.sizeBytes = disk.facts.sizeBytes
        $0.operationsPerSecond = disk.selection.operationsPerSecond ?? 0
        $0.bytesPerSecond = disk.selection.bytesPerSecond ?? 0
      }
      $0.used = Capacity {
        $0.functions = UInt32(map?.extents.count ?? 0)
        $0.sizeBytes = map?.usedBytes ?? 0
      }
      $0.capabilities = BlockPlugin<Class>.capabilities(isMultiRoot: disk.description.isMultiRoot)
      if let served = disk.served { $0.take(served) }
      if disk.selection.scrub == .sanitize { $0.capabilities?.refuseParts() }
      if disk.description.makesFunctions { $0.capabilities?.admitDrivers() }
      $0.health = disk.description.health.with(uncleaned: scrubs.all.filter { $0.endNode == disk.endNode })
      guard let obstacle else { return }
      $0.health = Health {
        $0.state = .unhealthy
        $0.message = obstacle
      }
    }
  }

  private func disk(_ endNode: String) throws -> Disk {
    guard let disk = try find(endNode) else {
      guard !told().contains(where: { $0.isForFileServer && $0.assignment?.function == endNode }) else {
        throw PluginError(
          .unavailable,
          "\(endNode), of which it is a part, is not attached on this host now: nothing of it can be used or cleaned until it is."
        )
      }
      throw PluginError(
        .notFound,
        "No disk of this host's configuration is \(endNode): bring the disk back, or its entry in the configuration. "
          + "What is on it can neither be used nor cleaned without it.")
    }
    return disk
  }

  private func present() throws -> [Disk] { try configured() + served.withLock { $0 }(nil).compactMap(disk) }

  private func find(_ endNode: String) throws -> Disk? {
    // Without a look at what is served: that asks for the disks that it lies on.
    guard !told().contains(where: { $0.isForFileServer && $0.assignment?.function == endNode }) else {
      return served.withLock { $0 }(endNode).first.flatMap(disk)
    }
    return try configured().first { $0.endNode == endNode }
  }

  private func configured() throws -> [Disk] {
    var disks: [Disk] = []
    for selection in configuration.endNodes {
      for path in Self.paths(selection.selection) {
        // A device that went away is no end node now; it is again when it comes back.
        guard let description = try? diskClass.describe(path), description.facts.sizeBytes > 0 else { continue }
        let endNode = "\(Class.name)/\(description.identity)"
        // Two names of one device are one disk.
        if disks.contains(where: { $0.endNode == endNode }) { continue }
        disks.append(
          Disk(
            endNode: endNode, description: description, selection: selection,
            orderedFunctions: Class.countsFunctions ? orderedFunctions(endNode) : nil))
      }
    }
    for index in disks.indices {
      disks[index].overlapped =
        disks.first { Self.isPart($0, of: disks[index]) || Self.isPart(disks[index], of: $0) }?.path
      if let maker = disks[index].description.functionMaker {
        disks[index].sharesFunctions = disks.count { $0.description.functionMaker == maker } > 1
      }
    }
    return disks
  }

  /// A partition's identity is its disk's, and its number.
  private static func isPart(_ part: Disk, of whole: Disk) -> Bool {
    part.description.identity.hasPrefix(whole.description.identity + "-part")
  }

  // MARK: What claims hold for file servers

  func lookForServed(_ look: @escaping @Sendable (String?) -> [ServedDisk]) { served.withLock { $0 = look } }

  /// Nil: it goes just now.
  private func disk(_ served: ServedDisk) -> Disk? {
    guard let description = try? served.description() else { return nil }
    // An operator who has given up what was on the disk has given it up on the whole of it, too.
    let isGivenUp = served.plan.isWhole && (try? find(served.plan.endNode))?.selection.acceptsExistingData == true
    return Disk(
      endNode: served.endNode, description: description,
      selection: DiskSelection(served: served.device, acceptsExistingData: isGivenUp), served: served)
  }

  /// Where parts lie of a whole disk that is for a file server: those have a table of their own.
  private func servedPlaces(of disk: Disk) -> [Extent] {
    told().filter { $0.isForFileServer && $0.assignment?.path == .direct && $0.assignment?.endNode == disk.endNode }
      .compactMap(\.assignment?.function).flatMap { servedTable(of: $0)?.map.extents.map(\.place) ?? [] }
  }

  /// Also while it is not attached.
  private func servedTable(of function: String) -> ExtentTable? {
    tables.withLock { tables in
      if let table = tables[function] { return table }
      return try? ExtentTable.load(directory: directory, endNode: function, diskSizeBytes: nil)
    }
  }

  /// Whether parts of a function are remembered, whatever is known of the function itself.
  func hasTable(of function: String) -> Bool { ExtentTable.exists(directory: directory, endNode: function) }

  func servedExtent(of plan: FunctionPlan) -> AllocatedExtent? { servedTable(of: plan.endNode)?.map[plan.function] }

  /// Of what is not attached now.
  func releaseServed(_ plan: FunctionPlan) throws {
    if var table = servedTable(of: plan.endNode) {
      try table.release(function: plan.function)
      tables.withLock { $0[plan.endNode] = table }
      let isKnown = told().contains { $0.isForFileServer && $0.assignment?.function == plan.endNode }
      if !isKnown { try forgetTable(of: plan.endNode, withParts: false) }
    }
    try scrubs.remove(plan.function)
  }

  /// - Parameter withParts: also if it has any.
  func forgetTable(of function: String, withParts: Bool) throws {
    guard withParts || servedTable(of: function)?.map.extents.isEmpty ?? !hasTable(of: function) else { return }
    for record in scrubs.all where record.endNode == function { try scrubs.remove(record.function) }
    try tables.withLock { tables in
      try ExtentTable.remove(directory: directory, endNode: function)
      tables[function] = nil
    }
    disagreements.withLock { $0[function] = nil }
  }

  private static func paths(_ selection: DiskSelection.Selection) -> [String] {
    switch selection {
    case .device(let path): return [path]
    case .match(let pattern):
      var matches = glob_t()
      defer { globfree(&matches) }
      guard glob(pattern, 0, nil, &matches) == 0 else { return [] }
      return (0..<Int(matches.gl_pathc)).compactMap { matches.gl_pathv?[$0].map { String(cString: $0) } }
    }
  }

  private func table(of disk: Disk) throws -> ExtentTable? {
    try tables.withLock { try loadedTable(disk, &$0) }
  }

  private func loadedTable(_ disk: Disk, _ tables: inout [String: ExtentTable]) throws -> ExtentTable? {
    if let table = tables[disk.endNode] { return table }
    let table = try ExtentTable.load(
      directory: directory, endNode: disk.endNode, diskSizeBytes: disk.facts.sizeBytes)
    tables[disk.endNode] = table
    return table
  }
}
