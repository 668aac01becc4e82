<?php

return [
    'default' => 'pgsql',
    'connections' => [
        'pgsql' => [
            'driver' => 'pgsql',
            'host' => env('DB_HOST', '127.0.0.1'),
            'port' => env('DB_PORT', '5432'),
            'database' => env('DB_DATABASE'),
            'username' => env('DB_USERNAME'),
            'password' => env('DB_PASSWORD'),
            'charset' => 'utf8',
            'schema' => 'public',
            'sslmode' => 'prefer',
            'application_name' => 'chms',
            // Seconds to connect; without it a lost database host holds a worker for 30.
            'options' => [PDO::ATTR_TIMEOUT => 3],
        ],
    ],
    'migrations' => 'migrations',
];
