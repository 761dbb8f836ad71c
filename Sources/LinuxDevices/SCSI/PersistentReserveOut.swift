/// PERSISTENT RESERVE OUT (SPC-4, 6.16), with the basic parameter list: this path, this port, the whole logical unit.
public struct PersistentReserveOut: SCSICommand {
  public typealias Answer = Void
  public var change: ReservationChange

  public init(_ change: ReservationChange) { self.change = change }

  public var name: String { change.name }

  /// The device may have to end what the victim has under way first.
  public var timeout: Duration { .seconds(60) }

  public var block: [UInt8] {
    var block: [UInt8] = [0x5f, fields.action, fields.type?.scsiCode ?? 0, 0, 0, 0, 0, 0, 0, 0]
    block.put(bigEndian: UInt32(Self.parametersLength), at: 5)
    return block
  }

  public var data: CommandData {
    var parameters = [UInt8](repeating: 0, count: Self.parametersLength)
    parameters.put(bigEndian: fields.key?.value ?? 0, at: 0)
    parameters.put(bigEndian: fields.serviceKey?.value ?? 0, at: 8)
    parameters[20] = fields.persists ? 0x01 : 0
    return .send(parameters)
  }

  private static let parametersLength = 24

  private struct Fields {
    var action: UInt8
    /// Of the path that sends it.
    var key: ReservationKey?
    /// What it is about.
    var serviceKey: ReservationKey?
    var type: ReservationType?
    var persists = false
  }

  private var fields: Fields {
    switch change {
    case .registerFirst(let key, let persists): Fields(action: 0, serviceKey: key, persists: persists)
    case .unregister(let key): Fields(action: 0, key: key)
    case .reserve(let key, let type): Fields(action: 1, key: key, type: type)
    case .release(let key, let type): Fields(action: 2, key: key, type: type)
    case .clear(let key): Fields(action: 3, key: key)
    case .preempt(let key, let victim, let type, let aborting):
      Fields(action: aborting ? 5 : 4, key: key, serviceKey: victim, type: type)
    case .register(let key, let persists): Fields(action: 6, serviceKey: key, persists: persists)
    }
  }
}
