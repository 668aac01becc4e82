# shellcheck shell=bash
install_backup_tools() { :; }
