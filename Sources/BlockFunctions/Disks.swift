import FunctionPluginKit
import Glibc
import LinuxDevices
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
  /// Loaded when first needed; a table on disk is never newer than the one here.
  private let tables = Mutex<[String: ExtentTable]>([:])

  init(configuration: BlockConfiguration<Class>, context: PluginContext) throws {
    self.configuration = configuration
    diskClass = try Class(context: context)
    hostName = context.hostName
    directory = context.stateDirectory
  }

  /// One configured disk that is there.
  private struct Disk {
    var endNode: String
    var description: DiskDescription
    var selection: DiskSelection

    var path: String { description.device }
    var facts: BlockFacts { description.facts }
    var functionLimit: UInt32 { selection.functionLimit ?? Class.defaultFunctionLimit }
  }

  /// Checks at the start that what is known of the disks is sound: better no plugin than a wrong one.
  func load() throws {
    for disk in try present() { _ = try table(of: disk) }
  }

  func rescan() { diskClass.rescan() }

  func endNodes() throws -> [EndNode] { try present().map { try endNode($0) } }

  /// Whether an end node's disk is there now.
  func contains(_ endNode: String) throws -> Bool { try present().contains { $0.endNode == endNode } }

  /// The disk of an end node.
  func description(of endNode: String) throws -> DiskDescription { try disk(endNode).description }

  func keeper(of disk: DiskDescription) throws -> (any DiskKeeper)? { try diskClass.keeper(of: disk) }

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

  func extent(of function: String, endNode: String) throws -> AllocatedExtent? {
    try table(of: try disk(endNode))?.map[function]
  }

  /// All functions that have an extent, with their end nodes.
  func extents() throws -> [(endNode: String, extent: AllocatedExtent)] {
    try present().flatMap { disk in try (table(of: disk)?.map.extents ?? []).map { (disk.endNode, $0) } }
  }

  /// What keeps a function from being created; empty if nothing.
  func problems(with plan: FunctionPlan) throws -> [String] {
    let disk = try disk(plan.endNode)
    var problems: [String] = []
    do { try plan.checkSize() } catch { problems.append(error.message) }
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
    return try tables.withLock { tables in
      var table = try loadedTable(disk, &tables) ?? takeIntoUse(disk)
      if table.map[plan.function] == nil, table.map.extents.count >= disk.functionLimit {
        throw PluginError(.resourceExhausted, limitReached(disk))
      }
      let extent = try table.allocate(function: plan.function, sizeBytes: plan.sizeBytes, place: plan.place)
      tables[disk.endNode] = table
      return extent
    }
  }

  func release(_ plan: FunctionPlan) throws {
    let disk = try disk(plan.endNode)
    try tables.withLock { tables in
      guard var table = try loadedTable(disk, &tables) else { return }
      try table.release(function: plan.function)
      tables[disk.endNode] = table
    }
  }

  /// A disk without a table is somebody's until the operator or its emptiness says otherwise.
  private func takeIntoUse(_ disk: Disk) throws -> ExtentTable {
    if let obstacle = try obstacle(disk, isOurs: false) { throw PluginError(.failedPrecondition, obstacle) }
    return try ExtentTable.create(
      directory: directory, endNode: disk.endNode, diskSizeBytes: disk.facts.sizeBytes)
  }

  /// Why functions of this disk cannot be made. A disk with a table is ours, and what it carries are tenants' data.
  private func obstacle(_ disk: Disk, isOurs: Bool) throws -> String? {
    // There is nothing here that could be looked at; it went from here as ours.
    if disk.description.isAway { return nil }
    if try BlockDevice.isClaimedByKernel(disk.path) {
      return "\(disk.path) is mounted, or part of an array or of swap space: take it out of use first."
    }
    if disk.facts.isReadOnly { return "\(disk.path) is read-only." }
    if isOurs || disk.selection.acceptsExistingData { return nil }
    // Another host of the cluster has it: what it carries is a tenant's, and cannot be read here.
    if disk.description.isMultiRoot, try keeper(of: disk.description)?.highestToken() != nil { return nil }
    guard let signature = try DiskSignature.find(on: disk.path) else { return nil }
    return
      "\(disk.path) carries data (\(signature)). If it may be lost, set acceptExistingData: true for this end node."
  }

  /// A disk that cannot be looked at keeps nobody from knowing of the others.
  private func obstacleOrFailure(_ disk: Disk, isOurs: Bool) -> String? {
    do { return try obstacle(disk, isOurs: isOurs) } catch { return "\(error)" }
  }

  private func limitReached(_ disk: Disk) -> String {
    "\(disk.endNode) has as many functions as its configuration allows (\(disk.functionLimit))."
  }

  private func endNode(_ disk: Disk) throws -> EndNode {
    let map = try table(of: disk)?.map
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
      $0.capacity = Capacity {
        $0.functions = disk.functionLimit
        $0.sizeBytes = disk.facts.sizeBytes
      }
      $0.used = Capacity {
        $0.functions = UInt32(map?.extents.count ?? 0)
        $0.sizeBytes = map?.usedBytes ?? 0
      }
      $0.capabilities = BlockPlugin<Class>.capabilities(isMultiRoot: disk.description.isMultiRoot)
      if disk.description.makesFunctions { $0.capabilities?.admitDrivers() }
      $0.health = disk.description.health
      guard let obstacle else { return }
      $0.health = Health {
        $0.state = .unhealthy
        $0.message = obstacle
      }
    }
  }

  private func disk(_ endNode: String) throws -> Disk {
    guard let disk = try present().first(where: { $0.endNode == endNode }) else {
      throw PluginError(
        .notFound,
        "No disk of this host's configuration is \(endNode): bring the disk back, or its entry in the configuration. "
          + "What is on it can neither be used nor cleaned without it.")
    }
    return disk
  }

  private func present() throws -> [Disk] {
    var disks: [Disk] = []
    for selection in configuration.endNodes {
      for path in Self.paths(selection.selection) {
        // A device that went away is no end node now; it is again when it comes back.
        guard let description = try? diskClass.describe(path), description.facts.sizeBytes > 0 else { continue }
        let endNode = "\(Class.name)/\(description.identity)"
        // Two names of one device are one disk.
        if disks.contains(where: { $0.endNode == endNode }) { continue }
        disks.append(Disk(endNode: endNode, description: description, selection: selection))
      }
    }
    return disks
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
