<?php
// Calls of Roundcube's rcube_imap: see remote.py. The argument is a file of settings as JSON.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
ini_set('display_errors', 'stderr');
$settings = json_decode(file_get_contents($argv[1]), true);
define('INSTALL_PATH', $settings['roundcube'] . '/');
define('RCUBE_CONFIG_DIR', $settings['folder'] . '/');
require INSTALL_PATH . 'program/lib/Roundcube/bootstrap.php';

if (!file_exists($settings['folder'] . '/cache.db')) {
    $database = new PDO('sqlite:' . $settings['folder'] . '/cache.db');
    $database->exec(file_get_contents(INSTALL_PATH . 'SQL/sqlite.initial.sql'));
    $database->exec("INSERT INTO users (user_id, username, mail_host) VALUES (1, 'u', 'h')");
}
$config = [
    'db_dsnw' => 'sqlite:///' . $settings['folder'] . '/cache.db?mode=0640',
    'imap_host' => 'ssl://' . $settings['host'], 'imap_cache' => 'db', 'messages_cache' => 'db',
    'imap_conn_options' => ['ssl' => ['cafile' => $settings['certificate']]],
    'imap_timeout' => 15, 'log_dir' => $settings['folder'], 'temp_dir' => $settings['folder'],
    'des_key' => '123456789012345678901234'];
file_put_contents(RCUBE_CONFIG_DIR . 'config.inc.php',
    '<?php $config = ' . var_export($config, true) . ';');
$rcube = rcube::get_instance(rcube::INIT_WITH_DB);
$rcube->user = new rcube_user(1);
$storage = $rcube->get_storage();

// Results that are objects, as JSON.
function plain($value) {
    if (is_array($value)) {
        return array_map('plain', $value);
    }
    if ($value instanceof rcube_result_index) {
        return array_map('intval', $value->get());
    }
    if ($value instanceof rcube_result_thread) {
        return $value->get_tree();
    }
    if ($value instanceof rcube_message_header) {
        return ['uid' => $value->uid, 'subject' => $value->get('subject'),
            'from' => $value->get('from'), 'flags' => array_keys($value->flags),
            'depth' => $value->depth ?? 0, 'size' => $value->size];
    }
    return $value;
}

while (($line = fgets(STDIN)) !== false) {
    $arguments = json_decode($line, true);
    $method = array_shift($arguments);
    try {
        if ($method == 'login') {
            $result = $storage->connect($settings['host'], $settings['user'],
                $settings['passphrase'], $settings['port'], 'ssl');
        } elseif ($method == 'list_messages') {  // keeps the order
            $result = array_values($storage->list_messages(...$arguments));
        } elseif ($method == 'found') {
            $result = $storage->get_search_set()[1];
        } else {
            $result = $storage->$method(...$arguments);
        }
        $said = json_encode(plain($result), JSON_INVALID_UTF8_SUBSTITUTE);
    } catch (Throwable $error) {
        $said = json_encode(['error' => (string) $error]);
    }
    fwrite(STDOUT, $said . "\n");
}
$storage->close();
