import FunctionPluginKit
import Services

/// A request, checked: what is to be done with which part of which disk, for whom.
struct FunctionPlan: Sendable {
  /// Sizes are a multiple of this. Larger than most sectors, so that a function can move to another disk.
  static let blockSizeBytes: UInt64 = 4096

  let request: FunctionRequest
  let function: String
  let endNode: String
  let token: FencingToken
  let handover: Handover
  /// The disk itself, not a part of it.
  let isWhole: Bool
  let sizeBytes: UInt64
  let isReadOnly: Bool
  let limits: DiskLimits
  /// Where the coordinator knows the function to lie; nil: it has yet to be told.
  let place: Extent?
  /// Whether its end node is what a claim holds, and no disk.
  let isServed: Bool

  init(_ request: FunctionRequest) throws(PluginError) {
    guard let assignment = request.assignment else {
      throw PluginError(.invalidArgument, "The request has no assignment.")
    }
    guard !assignment.function.contains(where: { $0.isWhitespace }), !assignment.endNode.isEmpty else {
      throw PluginError(
        .invalidArgument, "'\(assignment.function)' of '\(assignment.endNode)' is no function of a disk.")
    }
    self.request = request
    function = assignment.function
    endNode = assignment.endNode
    token = assignment.token ?? FencingToken()
    handover = try Handover(assignment)
    isWhole = assignment.path == .direct
    sizeBytes = assignment.attributes?.block?.sizeBytes ?? 0
    isReadOnly = assignment.attributes?.block?.readOnly ?? false
    limits = try DiskLimits(assignment.attributes?.block)
    place = assignment.extent
    isServed = !assignment.source.isEmpty
  }

  /// Whether its consumer drives the disk by itself. Machines get a block device of the host's where the drive makes no
  /// functions.
  func isDriven(_ disk: DiskDescription) -> Bool {
    guard isWhole else { return false }
    return switch request.assignment?.consumer?.kind {
    case .userSpace: true
    case .container(let container): container.userSpace
    case .virtualMachine: disk.makesFunctions
    default: false
    }
  }

  /// Throws when the size cannot be that of an extent; names the nearest ones that can.
  func checkSize() throws(PluginError) {
    guard sizeBytes > 0 else {
      throw PluginError(.invalidArgument, "The assignment grants no size: attributes.block.size_bytes is needed.")
    }
    let rest = sizeBytes % Self.blockSizeBytes
    guard rest != 0 else { return }
    let below = sizeBytes - rest
    let (above, overflow) = below.addingReportingOverflow(Self.blockSizeBytes)
    let nearest = [below, overflow ? 0 : above].filter { $0 > 0 }.map(String.init).joined(separator: " and ")
    throw PluginError(
      .invalidArgument,
      "A size of \(sizeBytes) bytes is no multiple of \(Self.blockSizeBytes); the nearest are \(nearest).")
  }

  /// The NBD part of the assignment.
  func mediation() throws(PluginError) -> Mediation {
    guard let mediation = request.assignment?.mediation, mediation.mediator == "nbd" else {
      throw PluginError(
        .invalidArgument,
        "Disks are mediated by 'nbd', not by '\(request.assignment?.mediation?.mediator ?? "")'.")
    }
    guard !mediation.exportName.isEmpty, !mediation.serverAddress.isEmpty, !mediation.consumerAddress.isEmpty else {
      throw PluginError(.invalidArgument, "The mediation lacks its export name, server address or consumer address.")
    }
    return mediation
  }

  func enforced(sizeBytes: UInt64, isReadOnly: Bool) -> Attributes {
    Attributes {
      $0.block = BlockAttributes {
        $0.sizeBytes = sizeBytes
        $0.readOnly = isReadOnly
      }
    }
  }

  /// In use, as it was read back from the system.
  func arrived(sizeBytes: UInt64, isReadOnly: Bool, _ describe: (inout Arrival) -> Void) -> FunctionStatus {
    let enforced = enforced(sizeBytes: sizeBytes, isReadOnly: isReadOnly)
    var status = FunctionStatus(request, .inUse)
    status.function?.enforced = enforced
    var arrival = Arrival { $0.enforced = enforced }
    describe(&arrival)
    status.arrival = arrival
    return status
  }
}
