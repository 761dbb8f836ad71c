import FunctionPluginKit
import Services

/// A request, checked: what is to be done with which part of which disk, for whom.
struct FunctionPlan: Sendable {
  /// Sizes are a multiple of this. Larger than most sectors, so that a function can move to another disk.
  static let blockSizeBytes: UInt64 = 4096

  let request: FunctionRequest
  let function: String
  let endNode: String
  let link: DeviceLink
  let sizeBytes: UInt64
  let isReadOnly: Bool

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
    link = try DeviceLink(claim: assignment.claim)
    sizeBytes = assignment.attributes?.block?.sizeBytes ?? 0
    isReadOnly = assignment.attributes?.block?.readOnly ?? false
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

  /// In use, as it was read back from the system.
  func arrived(device: String, sizeBytes: UInt64, isReadOnly: Bool, uri: String = "") -> FunctionStatus {
    let enforced = Attributes {
      $0.block = BlockAttributes {
        $0.sizeBytes = sizeBytes
        $0.readOnly = isReadOnly
      }
    }
    var status = FunctionStatus(request, .inUse)
    status.function?.enforced = enforced
    status.arrival = Arrival {
      $0.devicePath = device
      $0.uri = uri
      $0.enforced = enforced
    }
    return status
  }
}
