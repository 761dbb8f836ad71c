import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A function as it is on a host.
struct FakeFunction: Hashable {
  var claimUid: String
  var endNode: String
  var token: FencingToken
  var role: Role
  var attributes: Attributes?
  var vni: UInt32
  var isCut = false
  /// The device lets it write nothing any more.
  var isFenced = false
  var assignment: Assignment?
  var extent: Extent?

  var sizeBytes: UInt64 { attributes?.block?.sizeBytes ?? 0 }
  var macAddress: String? { attributes?.ethernet?.macAddress }
}

extension WantedFunction {
  /// Where a host keeps it: by its function, unless there can be another one of it there.
  var place: String { recordName == "\(role.rawValue)/\(functionID)" && role != .fencer ? functionID : recordName }
}

/// A host with an agent that obeys: level-triggered, by tokens, tearing down nothing without a release.
struct FakeHost {
  var name: String
  var instanceId: String
  var bootId = "boot-1"
  var mediationAddress: String
  var mediationMtu: UInt32 = 1500
  var labels: [String: String] = [:]
  var plugins: [Plugin] = []
  var endNodes: [EndNode] = []
  var clusterId = ""
  var watchdogMilliseconds: UInt32 = 0

  var session: SessionID?
  var wanted: [String: WantedFunction] = [:]
  /// By end node.
  var controls: [String: UInt64] = [:]
  /// Those of which it was told that they are nobody's.
  var unused: Set<String> = []
  var formerControls: [String: [UInt64]] = [:]
  /// How many functions of its own each end node is to make, as it was told.
  var functionCounts: [String: UInt32] = [:]
  /// As its plugin's configuration says, by end node.
  var configuredFunctions: [String: UInt32] = [:]
  /// What its driver makes at most.
  var mostFunctions: UInt32 = .max
  var epoch: UInt64 = 0
  var revision: UInt64 = 0
  var functions: [String: FakeFunction] = [:]
  var answered: [String: FunctionStatus] = [:]
  /// It hears, and does nothing.
  var isStuck = false
  /// It cuts a released function off and goes no further.
  var isScrubbingForever = false
  var failure: FunctionError?
  /// What it says of each function of its own devices that is in use.
  var health: Health?
  /// Where functions lie, by end node and function: on its disk, so that it outlives the host's run.
  var extents: [String: [String: Extent]] = [:]

  init(_ name: String, address: String = "10.0.0.1") {
    self.name = name
    instanceId = "instance-of-\(name)"
    mediationAddress = address
  }

  var hello: AgentHello {
    var host = Host()
    host.name = name
    host.instanceId = instanceId
    host.bootId = bootId
    host.mediationAddress = mediationAddress
    host.mediationMtu = mediationMtu
    host.labels = labels
    host.watchdogMilliseconds = watchdogMilliseconds
    return AgentHello {
      $0.host = host
      $0.highestEpoch = epoch
      $0.clusterId = clusterId
    }
  }

  var inventory: InventoryReport {
    InventoryReport {
      $0.endNodes = endNodes + servedEndNodes
      $0.plugins = plugins
    }
  }

  /// What is attached here for a file server.
  var servedEndNodes: [EndNode] {
    functions.values.compactMap { $0.isFenced || $0.isCut || $0.role == .server ? nil : $0.assignment }
      .filter { if case .fileServer = $0.consumer?.kind { true } else { false } }
      .map { servedEndNode(of: $0) }.sorted { $0.id < $1.id }
  }

  func report(complete: Bool) -> FunctionReport {
    FunctionReport {
      $0.epoch = epoch
      $0.revision = revision
      $0.bootId = bootId
      $0.complete = complete
      $0.functions = answered.keys.sorted().compactMap { id in
        var status = answered[id]
        // Of what nobody wants, or what is another claim's, the plugin remembers what it was set up with.
        if functions[id]?.claimUid != wanted[id]?.assignment?.claimUid {
          status?.assignment = functions[id]?.assignment
        }
        return status
      }
    }
  }

  mutating func take(_ state: WantedState) {
    guard state.epoch >= epoch else { return }
    epoch = state.epoch
    revision = state.revision
    if state.complete {
      wanted = [:]
      // What is gone and not wanted is not spoken of.
      answered = answered.filter { functions[$0.key] != nil }
    }
    if state.complete { (controls, functionCounts) = ([:], [:]) }
    for control in state.controls {
      controls[control.endNode] = control.controlToken?.value
      functionCounts[control.endNode] = control.functionCount
      if control.unused { unused.insert(control.endNode) } else { unused.remove(control.endNode) }
      formerControls[control.endNode] = control.formerControlTokens.map(\.value)
    }
    for entry in state.functions { wanted[entry.place] = entry }
  }

  /// Takes control of devices that several hosts see. Answers those of which it has news.
  mutating func takeControls() -> [String] {
    var taken: [String] = []
    for index in endNodes.indices where endNodes[index].capabilities?.multiRoot ?? false {
      guard let token = controls[endNodes[index].id], endNodes[index].physicalFunction?.controlToken?.value != token
      else {
        continue
      }
      endNodes[index].physicalFunction = PhysicalFunction { $0.controlToken = FencingToken { $0.value = token } }
      taken.append(endNodes[index].id)
    }
    return taken
  }

  /// Makes all functions of a card anew where it is told another count. Answers whether there was any.
  mutating func makeFunctions() -> Bool {
    var isNews = false
    for index in endNodes.indices {
      let id = endNodes[index].id
      guard var count = endNodes[index].physicalFunction?.functionCount, count.settable,
        controls[id] != nil, count.ordered != functionCounts[id]
      else { continue }
      isNews = true
      count.ordered = functionCounts[id]
      count.wanted = functionCounts[id] ?? configuredFunctions[id]
      let before = count.present
      count.present = min(count.wanted ?? before, mostFunctions)
      let holders = functions.filter { $0.value.endNode == id && $0.value.assignment?.path == .direct }.keys
      #expect(holders.isEmpty || count.present == before, "\(holders) lose what they have")
      count.message = count.wanted.map { count.present < $0 } ?? false ? "the driver made \(count.present)" : ""
      endNodes[index].makes(count)
    }
    return isNews
  }

  /// Does all that is wanted. Answers whether anything is different now.
  mutating func work() -> Bool {
    let before = answered
    for (id, entry) in wanted { entry.released ? release(id, entry) : setUp(id, entry) }
    return answered != before
  }

  private mutating func setUp(_ id: String, _ entry: WantedFunction) {
    guard let assignment = entry.assignment, let token = assignment.token else { return }
    if let there = functions[id], there.token == token, there.claimUid != assignment.claimUid { return }
    if let failure {
      answered[id] = status(id, entry, .absent) { $0.error = failure }
      return
    }
    let extent = entry.role == .consumer ? nil : extent(of: id, assignment)
    functions[id] = FakeFunction(
      claimUid: assignment.claimUid, endNode: assignment.endNode, token: token, role: entry.role,
      attributes: assignment.attributes, vni: assignment.mediation?.vni ?? 0, assignment: assignment, extent: extent)
    answered[id] = status(id, entry, .inUse) { status in
      status.health = entry.role == .consumer ? nil : health
      switch entry.role {
      case .server where assignment.mediation?.mediator == "nbd": status.serverPort = 10_809
      case .server, .fencer, .unspecified, .unrecognized: break
      case .direct, .consumer: status.arrival = Arrival { $0.interfaceName = "iov0" }
      }
    }
  }

  /// As it was told, or as it was, or the first gap.
  private mutating func extent(of id: String, _ assignment: Assignment) -> Extent? {
    guard let size = assignment.attributes?.block?.sizeBytes else { return nil }
    let function = assignment.function
    if let known = assignment.extent ?? extents[assignment.endNode]?[function] {
      extents[assignment.endNode, default: [:]][function] = known
      return known
    }
    var offset: UInt64 = 0
    for other in (extents[assignment.endNode] ?? [:]).values.sorted(by: { $0.offsetBytes < $1.offsetBytes })
    where offset + size > other.offsetBytes {
      offset = other.offsetBytes + other.sizeBytes
    }
    let extent = Extent {
      $0.offsetBytes = offset
      $0.sizeBytes = size
    }
    extents[assignment.endNode, default: [:]][function] = extent
    return extent
  }

  private mutating func release(_ id: String, _ entry: WantedFunction) {
    if isScrubbingForever, entry.role != .consumer, !entry.fenced, functions[id] != nil || entry.role == .fencer {
      functions[id]?.isCut = true
      answered[id] = status(id, entry, .scrubbing)
      return
    }
    if entry.role != .server { cutOffParts(of: entry.functionID) }
    functions[id] = nil
    // A consumer's part has no place, and the function may be there under another token.
    if entry.role != .consumer, !functions.values.contains(where: { $0.assignment?.function == entry.functionID }) {
      extents[entry.assignment?.endNode ?? ""]?[entry.functionID] = nil
    }
    answered[id] = status(id, entry, .absent)
  }

  /// Their device is gone.
  mutating func cutOffParts(of function: String) {
    for (place, part) in functions where part.endNode == function && part.role != .consumer && !part.isFenced {
      functions[place]?.isFenced = true
      if let part = part.assignment { cutOffParts(of: part.function) }
    }
  }

  private func status(
    _ id: String, _ entry: WantedFunction, _ phase: FunctionPhase, _ change: (inout FunctionStatus) -> Void = { _ in }
  ) -> FunctionStatus {
    var status = FunctionStatus()
    status.function = VirtualFunction {
      $0.id = entry.functionID
      $0.endNode = entry.assignment?.endNode ?? ""
      $0.deviceClass = entry.assignment?.deviceClass ?? ""
      $0.token = entry.assignment?.token
      $0.enforced = entry.assignment?.attributes
      $0.extent = functions[id]?.extent
    }
    status.role = entry.role
    status.phase = phase
    status.revision = entry.revision
    change(&status)
    return status
  }
}

extension World {
  /// Host a has a card, host c a disk, host b nothing.
  static func rack(_ settings: ArbiterSettings = ArbiterSettings()) -> World {
    var world = World(settings)
    var a = FakeHost("a", address: "10.0.0.1")
    a.plugins = [ethernetPlugin(), sataPlugin()]
    a.endNodes = [card("ethernet/52:54:00:00:00:01")]
    var b = FakeHost("b", address: "10.0.0.2")
    b.plugins = [ethernetPlugin(), sataPlugin()]
    var c = FakeHost("c", address: "10.0.0.3")
    c.plugins = [ethernetPlugin(), sataPlugin()]
    c.endNodes = [disk("sata/S3R1AL")]
    for host in [a, b, c] { world.add(host) }
    return world
  }
}

extension Result where Failure == Refusal {
  var refusal: Refusal? { if case .failure(let refusal) = self { refusal } else { nil } }
}
