import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// What a request asks of the kernel, with every value checked that can be checked without looking at the system.
struct FunctionPlan: Sendable {
  var names: FunctionNames
  var role: Role
  var endNode: String
  var macAddress: MACAddress
  /// Nil: the interface's own.
  var mtu: UInt32?
  /// Zero: no limit.
  var transmitBitsPerSecond: UInt64
  var receiveBitsPerSecond: UInt64
  /// Nil: the host itself.
  var consumerNamespace: String?
  var interfaceName: String
  /// How this host is joined with the other; nil on a direct path.
  var tunnel: VXLANParameters?

  init(_ request: FunctionRequest, vxlanPort: UInt16) throws(PluginError) {
    guard let assignment = request.assignment, !assignment.function.isEmpty else {
      throw PluginError(.invalidArgument, "the request has no assignment of a function")
    }
    names = FunctionNames(assignment.function)
    guard names.alias.utf8.count <= 255 else {
      throw PluginError(.invalidArgument, "the function's id is longer than 251 bytes")
    }
    role = request.role
    endNode = assignment.endNode
    let attributes = assignment.attributes?.ethernet ?? EthernetAttributes()
    macAddress = try Self.macAddress(attributes.macAddress)
    mtu = attributes.mtu
    transmitBitsPerSecond = try Self.rate(attributes.maxTransmitBitsPerSecond, "transmit")
    receiveBitsPerSecond = try Self.rate(attributes.maxReceiveBitsPerSecond, "receive")
    interfaceName = names.interface
    if let consumer = assignment.consumer, request.role != .server {
      if !consumer.interfaceName.isEmpty { interfaceName = consumer.interfaceName }
      if case .networkNamespace(let namespace) = consumer.kind { consumerNamespace = namespace.name }
    }
    guard InterfaceName.isValid(interfaceName) else {
      throw PluginError(
        .invalidArgument,
        "'\(interfaceName)' cannot name an interface: 1 to \(InterfaceName.maximumLength) bytes, "
          + "no slash, colon, percent sign or white space")
    }
    if request.role == .server || request.role == .consumer {
      tunnel = try Self.tunnel(assignment.mediation, role: request.role, port: vxlanPort)
    }
  }

  private static func macAddress(_ text: String?) throws(PluginError) -> MACAddress {
    guard let text else { throw PluginError(.invalidArgument, "the assignment grants no MAC address") }
    guard let address = MACAddress(text) else {
      throw PluginError(.invalidArgument, "'\(text)' is no MAC address: write it as 02:00:00:00:00:01")
    }
    guard !address.isMulticast, !address.isZero else {
      throw PluginError(.invalidArgument, "MAC address \(address) is not unicast: the first byte must be even")
    }
    return address
  }

  private static func rate(_ bitsPerSecond: UInt64?, _ direction: String) throws(PluginError) -> UInt64 {
    let rate = bitsPerSecond ?? 0
    guard rate == 0 || rate >= 8 else {
      throw PluginError(
        .invalidArgument, "a maximum \(direction) rate of \(rate) bit/s is below the smallest one, 8 bit/s")
    }
    return rate
  }

  private static func tunnel(
    _ mediation: Mediation?, role: Role, port: UInt16
  ) throws(PluginError) -> VXLANParameters {
    guard let mediation, mediation.mediator == EthernetPlugin.mediator else {
      throw PluginError(
        .invalidArgument, "mediator '\(mediation?.mediator ?? "")' is unknown: Ethernet is mediated by vxlan")
    }
    guard (1..<1 << 24).contains(mediation.vni) else {
      throw PluginError(.invalidArgument, "VNI \(mediation.vni) is not between 1 and 16777215")
    }
    guard let server = IPAddress(mediation.serverAddress), let consumer = IPAddress(mediation.consumerAddress),
      server.isIPv4 == consumer.isIPv4
    else {
      throw PluginError(
        .invalidArgument,
        "mediation addresses '\(mediation.serverAddress)' and '\(mediation.consumerAddress)' "
          + "are not two IP addresses of one family")
    }
    return VXLANParameters(
      networkIdentifier: mediation.vni, local: role == .server ? server : consumer,
      remote: role == .server ? consumer : server, port: port)
  }
}

extension PluginError {
  /// The kernel's refusals, sorted by whether trying again can help.
  init(_ error: any Error) {
    switch error {
    case let error as PluginError: self = error
    case let error as NetworkNamespaceError:
      switch error {
      case .missing: self.init(.notFound, "\(error); make it, or name another one in the claim")
      case .invalidName: self.init(.invalidArgument, error.description)
      case .system: self.init(.unavailable, error.description)
      }
    case let error as NetlinkError: self.init(Self.code(error.errno), error.description)
    default: self.init(.internalError, String(describing: error))
    }
  }

  private static func code(_ errno: CInt) -> StatusCode {
    switch errno {
    case EPERM, EACCES: .permissionDenied
    case EEXIST, EADDRINUSE, ENOTUNIQ: .alreadyExists
    case EINVAL, ERANGE, EADDRNOTAVAIL, EAFNOSUPPORT: .invalidArgument
    case EOPNOTSUPP, EPROTONOSUPPORT: .failedPrecondition
    // What was there a moment ago is gone, or something else was quicker: the next attempt looks again.
    default: .unavailable
    }
  }
}
