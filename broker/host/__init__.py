"""amqtt's frame around the broker: its configuration file and its plugins, which say who may connect and what each may use.

`plugin_host` is the way in; `interface` has the words both sides use and needs no amqtt. `authentication` is what decides
where no plugin does. All contact with amqtt is in this package.
"""
